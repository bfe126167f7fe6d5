"""`unmask train inpainting`."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from unmask.cli.arguments import FOLDERS, add_name_genders, gender_weights

if TYPE_CHECKING:
    from unmask.inpainting.data import Variety
    from unmask.inpainting.networks import Networks
    from unmask.inpainting.trainer import TrainConfig


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--data", type=Path, nargs="+", required=True, help=FOLDERS)
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    parser.add_argument("--gender", choices=("male", "female"), help="faces to train on")
    add_name_genders(parser, default=True)
    parser.add_argument("--seed", type=int, default=0, help="seed of weights and samples (0)")
    _add_network_arguments(parser.add_argument_group("networks"))
    _add_budget_arguments(parser.add_argument_group("budget"))
    _add_sample_arguments(parser.add_argument_group("samples"))
    _add_loss_arguments(parser.add_argument_group("losses"))


def _add_network_arguments(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--network",
        default="lite",
        choices=(
            "lite",
            "lite-detail",
            "lite-aot",
            "lite-plain",
            "paper",
            "paper-aot",
            "aot-gan",
        ),
        help="lite: width 32 on the first guess; -detail: its last phase, which sharpens; -plain: "
        "without the guess; paper: as published; -aot: with AOT blocks; aot-gan: the plain "
        "network, which ignores landmarks (lite)",
    )
    group.add_argument(
        "--init",
        type=Path,
        metavar="FOLDER",
        help="start from its generator.safetensors, and discriminator.safetensors if there is one",
    )
    group.add_argument(
        "--policy",
        default="mixed_bfloat16",
        help="Keras dtype policy: float32, mixed_bfloat16, ... (mixed_bfloat16)",
    )
    group.add_argument("--average", type=float, default=0.999, help="decay of averaged weights")


def _add_budget_arguments(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--minutes", type=float, default=30.0, help="wall-clock budget (30)")
    group.add_argument("--steps", type=int, help="budget in steps instead: repeatable exactly")
    group.add_argument("--batch-size", type=int, default=8, help="images a step (8)")
    group.add_argument("--side", type=int, default=192, help="side of the images, at most 192")
    group.add_argument("--rate", type=float, default=2e-4, help="peak learning rate (2e-4)")
    group.add_argument(
        "--discriminator-rate", type=float, help="the discriminator's (default: the generator's)"
    )
    group.add_argument(
        "--beta", type=float, help="Adam's decay of the first moment (default: as published)"
    )
    group.add_argument(
        "--sheet-minutes", type=float, default=10.0, help="time between sample sheets; 0: none (10)"
    )
    group.add_argument("--tensorboard", action="store_true", help="write event files too")


def _add_sample_arguments(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--prior", type=Path, help="linear prior (default: the shipped one)")
    group.add_argument(
        "--coarse",
        type=Path,
        help="weights of the network that corrects the linear prior's guess, for the lite networks "
        "(default: the shipped ones)",
    )
    group.add_argument(
        "--linear", action="store_true", help="paint on the linear prior's guess as it is"
    )
    group.add_argument(
        "--strokes", type=float, default=0.0, help="share of samples with irregular holes (0)"
    )
    group.add_argument(
        "--blocks", type=float, default=0.0, help="share of samples with rectangular holes (0)"
    )
    group.add_argument(
        "--predicted",
        type=float,
        default=0.0,
        help="share of masked samples whose landmarks are predicted as in `unmask run` (0)",
    )
    group.add_argument(
        "--landmarks", type=Path, help="weights for --predicted (default: the shipped ones)"
    )
    group.add_argument(
        "--loose",
        type=float,
        default=0.0,
        help="share of masked samples whose hole reaches past the jaw, as real masks do (0)",
    )
    group.add_argument(
        "--turned",
        type=int,
        default=1,
        help="how often a turned head is shown to a frontal one (1)",
    )


def _add_loss_arguments(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--features",
        required=True,
        help=".npz of a compressed VGG-19, a file of VGG-19's weights (torchvision's .pth, Keras' "
        ".h5), or 'imagenet': Keras downloads it",
    )
    group.add_argument("--pixel", type=float, default=1.0, help="weight of the pixel loss (1)")
    group.add_argument(
        "--perceptual", type=float, default=0.1, help="weight of the perceptual loss (0.1)"
    )
    group.add_argument("--style", type=float, default=250.0, help="weight of the style loss (250)")
    group.add_argument(
        "--adversarial", type=float, default=0.01, help="its weight; 0: no discriminator (0.01)"
    )
    group.add_argument("--tv", type=float, default=0.1, help="weight of total variation (0.1)")
    group.add_argument("--parsing", type=float, default=0.0, help="weight of face parsing (0)")
    group.add_argument(
        "--matching",
        type=float,
        default=0.0,
        help="weight of the discriminator's features, with lite-detail (0)",
    )
    group.add_argument("--parser", type=Path, help="Keras file of a frozen face-parsing network")
    group.add_argument(
        "--published-targets",
        action="store_true",
        help="the discriminator's targets of AOT-GAN's code instead of those of its paper",
    )
    group.add_argument(
        "--schedule",
        choices=("joint", "alternating"),
        default="joint",
        help="joint: both networks learn from each other's state before the step; alternating: "
        "the discriminator first, the generator from the updated one (joint)",
    )


def main(args: argparse.Namespace) -> int:
    """Train, resuming an interrupted training in the same folder."""
    from unmask.errors import UnmaskError
    from unmask.inpainting.train import train

    try:
        print(train(_config(args), lambda line: print(line, flush=True)))
    except (UnmaskError, ValueError) as error:
        print(f"unmask train inpainting: {error}", file=sys.stderr)
        return 2
    return 0


def _config(args: argparse.Namespace) -> TrainConfig:
    from unmask.inpainting.losses import LossWeights
    from unmask.inpainting.trainer import TrainConfig
    from unmask.weights import find

    discriminator_rate = args.discriminator_rate
    if discriminator_rate is None:
        discriminator_rate = args.rate
    discriminator = args.init and args.init / "discriminator.safetensors"
    return TrainConfig(
        folders=args.data,
        prior=args.prior or find("lite", "prior").path,
        coarse=_coarse(args),
        features=args.features,
        out=args.out,
        networks=_networks(args),
        gender=args.gender,
        gender_weights=gender_weights(args) if args.gender else None,
        minutes=args.minutes,
        steps=args.steps,
        side=args.side,
        batch_size=args.batch_size,
        rate=args.rate,
        discriminator_rate=discriminator_rate,
        init=args.init and args.init / "generator.safetensors",
        # Shipped generators come without one; it then starts anew.
        init_discriminator=discriminator if discriminator and discriminator.is_file() else None,
        average=args.average,
        weights=LossWeights(
            pixel=args.pixel,
            perceptual=args.perceptual,
            style=args.style,
            tv=args.tv,
            adversarial=args.adversarial,
            parsing=args.parsing,
            matching=args.matching,
        ),
        parser=args.parser,
        published_targets=args.published_targets,
        schedule=args.schedule,
        variety=_variety(args),
        policy=args.policy,
        seed=args.seed,
        sheet_minutes=args.sheet_minutes or None,
        tensorboard=args.tensorboard,
    )


def _coarse(args: argparse.Namespace) -> Path | None:
    from unmask.weights import find

    # The other networks see no first guess: it only fills what lies outside a photo for them.
    if args.linear or args.network not in ("lite", "lite-detail", "lite-aot"):
        return None
    return args.coarse or find("lite", "coarse").path


def _networks(args: argparse.Namespace) -> Networks:
    from unmask.inpainting.networks import NETWORKS

    networks = NETWORKS[args.network]
    if args.beta is None:
        return networks
    return replace(networks, betas=(args.beta, networks.betas[1]))


def _variety(args: argparse.Namespace) -> Variety:
    from unmask.inpainting.data import Variety

    predictor = None
    if args.predicted > 0:
        from unmask.cli.evaluate_inpainting import landmark_predictor
        from unmask.weights import find

        predictor = landmark_predictor(args.landmarks or find("lite", "landmarks").path)
    return Variety(
        strokes=args.strokes,
        blocks=args.blocks,
        predicted=args.predicted,
        predictor=predictor,
        loose=args.loose,
        turned=args.turned,
    )
