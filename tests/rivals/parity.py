"""Compare every rival with its recorded outputs; prints {network: relative error} as JSON.

Run as a script, once a backend, with the folder of the recorded outputs.
"""

import json
import sys
from functools import partial
from pathlib import Path

import numpy as np

FOLDER = Path(sys.argv[1])
sys.path.insert(0, str(FOLDER))

from state_dicts import make_state_dict, make_tf_variables  # noqa: E402

from unmask.rivals import aot, deepfill2, edgeconnect, pluralistic  # noqa: E402
from unmask.rivals.contextual_attention import ContextualAttention  # noqa: E402

ERRORS, PARAMETERS = {}, {}
DISCRIMINATOR = partial(deepfill2.convert_tensors, discriminator=True)


def last(array):
    return np.asarray(array, np.float32).transpose(0, 2, 3, 1)


def load(convert, name, make=make_state_dict):
    model, report = convert(make(name, 1))
    assert not report.missing, report
    assert not report.unused, report
    PARAMETERS[name] = sum(int(np.prod(v.shape)) for v in model.trainable_weights)
    stored = np.load(FOLDER / "outputs" / f"{name}-seed1.npz")
    return model, {key: last(v) if v.ndim == 4 else v for key, v in stored.items()}


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
    model, stored = load(DISCRIMINATOR, "deepfill2_discriminator", make)
    note("deepfill2_discriminator", model([swapped, stored["input_mask"]]), stored["output"])

model, stored = load(edgeconnect.convert_tensors, "edgeconnect_edge")
mask = stored["input_mask"]
drawn = np.asarray(model([stored["input_gray"], stored["input_edges"].astype("float32"), mask]))
note("edgeconnect_edge", drawn, stored["output"])
model, stored = load(edgeconnect.convert_tensors, "edgeconnect_inpaint")
note("edgeconnect_inpaint", model([image, stored["input_edges"], mask]), stored["output"])
joint = np.asarray(model([image, drawn, mask])) * mask + image * (1 - mask)
note("edgeconnect_joint", joint[:, ::4, ::4], stored["output_joint_sample"])
model, stored = load(edgeconnect.convert_tensors, "edgeconnect_edge_discriminator")
pair = np.concatenate([stored["input_gray"], stored["input_edges"]], axis=-1)
note("edgeconnect_edge_discriminator", model(pair)[-1], stored["output_logits"])
model, stored = load(edgeconnect.convert_tensors, "edgeconnect_inpaint_discriminator")
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
model, stored = load(pluralistic.convert_tensors, "pluralistic_discriminator")
note("pluralistic_discriminator", model(image), stored["output"])

nothing = np.zeros_like(mask)
model, stored = load(aot.convert_tensors, "aot_generator")
output = np.asarray(model([image, stored["input_mask"], nothing])) * 2 - 1
note("aot_generator", output, stored["output"])
model, stored = load(aot.convert_tensors, "aot_discriminator")
note("aot_discriminator", model([image, nothing]), stored["output"])

sys.stdout.write(json.dumps({"errors": ERRORS, "parameters": PARAMETERS}) + "\n")
