"""Compare the rivals' and the paper's networks with recorded outputs of the published code.

Run as a script, once a backend, with the folder of the recorded outputs; prints the relative error
and the number of parameters of each network as JSON.
"""

import json
import sys
from functools import partial
from pathlib import Path

import numpy as np

FOLDER = Path(sys.argv[1])
sys.path.insert(0, str(FOLDER))

from state_dicts import make_state_dict, make_tf_variables  # noqa: E402

from unmask.inpainting.convert import convert_state_dict  # noqa: E402
from unmask.rivals import aot, deepfill2, edgeconnect, pluralistic  # noqa: E402
from unmask.rivals.layers import ContextualAttention  # noqa: E402
from unmask.torch_checkpoint import assign_tensors, by_module  # noqa: E402

ERRORS, PARAMETERS = {}, {}


def last(array):
    return np.asarray(array, np.float32).transpose(0, 2, 3, 1)


def load(convert, name, make=make_state_dict):
    model, report = convert(make(name, 1))
    assert not report.missing, report
    # Two discriminators have a block that their forward pass leaves out.
    assert all(n.startswith(("attn2.model.", "auto_attn.model.")) for n in report.unused), report
    PARAMETERS[name] = sum(int(np.prod(v.shape)) for v in model.trainable_weights)
    stored = np.load(FOLDER / "outputs" / f"{name}-seed1.npz")
    return model, {key: last(v) if v.ndim == 4 else v for key, v in stored.items()}


def judge(build, module_of=str):
    """What converts a discriminator, which the package does not: it trains its own."""

    def convert(tensors):
        model = build()
        return model, assign_tensors(model, tensors, by_module(tensors, module_of))

    return convert


def with_right(name, seed):
    """DeepFill's discriminator, and the right singular vectors that its code makes at each call."""
    tensors = dict(make_state_dict(name, seed))
    for left in [key for key in tensors if key.endswith("weight_u")]:
        matrix = tensors[left.removesuffix("_u")].reshape(tensors[left].size, -1)
        right = matrix.T @ tensors[left].reshape(-1)
        right = right / np.linalg.norm(right)
        tensors[left] = matrix @ right / np.linalg.norm(matrix @ right)
        tensors[left.removesuffix("u") + "v"] = right
    return tensors


def note(name, ours, theirs):
    error = float(np.linalg.norm(np.asarray(ours) - theirs) / np.linalg.norm(theirs))
    ERRORS[name] = max(error, ERRORS.get(name, 0.0))


image = np.random.Generator(np.random.PCG64(1001)).uniform(0, 1, (1, 3, 256, 256))
image = last(image.astype(np.float32))
swapped = image[..., ::-1]  # DeepFill's recorded channels are in the network's own order

stored = np.load(FOLDER / "outputs" / "deepfill2_attention-seed1.npz")
features, hole = last(stored["input_features"]), last(stored["input_mask"])
for kind, scale in (("sharp", 1.0), ("soft", np.float32(0.004))):
    output = ContextualAttention()([features * scale, hole])
    note("deepfill2_attention", output, last(stored[f"output_{kind}"]))

for make in (make_state_dict, make_tf_variables):
    model, stored = load(deepfill2.convert_tensors, "deepfill2_generator", make)
    refined, coarse = (np.asarray(y)[..., ::-1] * 2 - 1
                       for y in model([swapped, stored["input_mask"]]))  # fmt: skip
    note("deepfill2_generator", refined, stored["output"])
    note("deepfill2_generator", coarse[:, ::2, ::2], stored["output_coarse_sample"])
convert = judge(deepfill2.build_discriminator, "{}.conv_sn".format)
model, stored = load(convert, "deepfill2_discriminator", with_right)
note("deepfill2_discriminator", model([swapped, stored["input_mask"]]), stored["output"])

model, stored = load(edgeconnect.convert_tensors, "edgeconnect_edge")
mask = stored["input_mask"]
drawn = np.asarray(model([stored["input_gray"], stored["input_edges"].astype("float32"), mask]))
note("edgeconnect_edge", drawn, stored["output"])
model, stored = load(edgeconnect.convert_tensors, "edgeconnect_inpaint")
note("edgeconnect_inpaint", model([image, stored["input_edges"], mask]), stored["output"])
joint = np.asarray(model([image, drawn, mask])) * mask + image * (1 - mask)
note("edgeconnect_joint", joint[:, ::4, ::4], stored["output_joint_sample"])
model, stored = load(
    judge(partial(edgeconnect.build_discriminator, 2)), "edgeconnect_edge_discriminator"
)
pair = np.concatenate([stored["input_gray"], stored["input_edges"]], axis=-1)
note("edgeconnect_edge_discriminator", model(pair)[-1], stored["output_logits"])
model, stored = load(
    judge(partial(edgeconnect.build_discriminator, 3)), "edgeconnect_inpaint_discriminator"
)
note("edgeconnect_inpaint_discriminator", model(image)[-1], stored["output_logits"])

encoder, stored = load(pluralistic.convert_tensors, "pluralistic_encoder")
mask, known = stored["input_mask"], encoder([image, stored["input_mask"]])
for ours, theirs in (("mu", "mu"), ("sigma", "sigma"), ("features", "feature"),
                     ("early", "feature_attention")):  # fmt: skip
    note("pluralistic_encoder", known[ours], stored[f"output_{theirs}"])
generator, stored = load(pluralistic.convert_tensors, "pluralistic_generator")
known = {name: np.asarray(value) for name, value in known.items()}
z = known["mu"] + known["sigma"] * stored["input_noise"]
for picture in generator([z, known["features"], known["early"], mask]):
    theirs = stored[f"output_{picture.shape[1]}"]
    note("pluralistic_generator", np.asarray(picture) * 2 - 1, theirs)
joined = pluralistic.join(encoder, generator)([image, mask, stored["input_noise"]])
note("pluralistic_generator", np.asarray(joined) * 2 - 1, stored["output_256"])
model, stored = load(judge(pluralistic.build_discriminator), "pluralistic_discriminator")
note("pluralistic_discriminator", model(image), stored["output"])

nothing = np.zeros_like(mask)
for name in ("lafin_generator", "lafin_discriminator"):
    model, stored = load(convert_state_dict, name)
    given = {"image": image, "mask": nothing, "landmark_map": nothing}
    given |= {k.removeprefix("input_"): v for k, v in stored.items() if k.startswith("input_")}
    note(name, model([given[x.name] for x in model.inputs]), stored["output"])
model, stored = load(aot.convert_tensors, "aot_generator")
output = np.asarray(model([image, stored["input_mask"], nothing])) * 2 - 1
note("aot_generator", output, stored["output"])
model, stored = load(
    judge(aot.build_aot_discriminator, lambda layer: f"conv.{2 * int(layer[-1]) - 2}"),
    "aot_discriminator",
)
note("aot_discriminator", model([image, nothing]), stored["output"])

sys.stdout.write(json.dumps({"errors": ERRORS, "parameters": PARAMETERS}) + "\n")
