"""`unmask demo`: two public-domain portraits, masked and unmasked again."""

from __future__ import annotations

from pathlib import Path

from unmask.cli.arguments import OutFolder, Seed


def demo(*, out: OutFolder = Path("out"), preset: str = "lite", seed: Seed = 0) -> None:
    """Mask and unmask two portraits.

    Puts a drawn mask on the portraits that come with scikit-image and matplotlib, runs the pipeline
    on them, and compares with the truth.

    Args:
        out: Folder for the panel.
        preset: Which networks, "lite" or "paper".
        seed: Seed of the drawn masks.
    """
    from unmask.errors import require

    require("the demo", "matplotlib", "matplotlib")
    from unmask.demo import run_demo

    path = out / ("demo.png" if preset == "lite" else f"demo-{preset}.png")
    scores = run_demo(path, preset=preset, seed=seed)
    print(f"{'':28}{'PSNR in hole':>14}{'SSIM in hole':>14}{'PSNR outside':>14}")
    for score in scores:
        print(
            f"{score.portrait + ', ' + score.method:28}{score.psnr_hole:11.2f} dB"
            f"{score.ssim_hole:14.3f}{score.psnr_outside:11.2f} dB"
        )
    print(f"panel: {path}")
