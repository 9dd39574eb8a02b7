"""Games: min over x of max over y, both moved by differences.  For spaces with the parts "x" and "y" (`spaces.several`)."""

from __future__ import annotations

from .. import coefficients, probes
from ..coefficients import Opposed
from ..directions import Blocks, Dense, Either
from ..directions.dense import Law
from ..method import Method
from ..probes import Ahead, InTurn, Together
from ..protocols import Coefficients, Directions, Probe, Rule
from ..rules import BySlot, Descent
from ..schedules import SCHEDULES
from .card import MethodCard, checked


def zo_gda(
    lr: float = 1e-3, eps: float = 1e-4, *, ratio: float = 10.0, nx: int = 1, ny: int = 1, y_rule: Rule | None = None,
    law: Law = "normal", schedule: str = "constant",
) -> Method:  # fmt: skip
    """ZO-GDA: descent in x and ascent in y at once.

        x <- x - lr G_x(x, y);   y <- Pi_Y(y + ratio lr G_y(x, y))

    Both are asked where both stand.  Where y's problem has condition kappa, the paper's ratio is about kappa^2; on
    bilinear games it turns in circles: `zo_extragradient`.

    Args:
        lr: step size of x (eta_1).
        eps: radius of the pairs (mu).
        ratio: y's step size over x's (eta_2 / eta_1).
        nx: draws of x a step (the paper: of the order of its dimension).
        ny: draws of y a step.
        y_rule: how y moves, such as `rules.Projected(Descent(), set)`; plain if not given.
        law: "normal" (the paper) or "signs".
        schedule: "constant" (the paper), "cosine" or "linear".

    Raises:
        ValueError: a setting outside its range.

    Cost: 2 (nx + ny) evaluations; no memory; 25 journal bytes a draw and more.

    Example:
        >>> zo_gda(nx=2, ny=3).probe.forwards
        10

    Reference: arXiv 2001.07819, algorithm 1.
    """
    return _game("zo_gda", Together(nx, ny), lr, eps, ratio, nx, ny, y_rule, law, schedule, {})


def zo_gdmsa(
    lr: float = 1e-2, eps: float = 1e-4, *, ratio: float = 10.0, ascents: int = 10, nx: int = 1, ny: int = 1,
    y_rule: Rule | None = None, law: Law = "normal", schedule: str = "constant",
) -> Method:  # fmt: skip
    """ZO-GDMSA: `ascents` steps of y, then one of x at the y they reached.

        y <- Pi_Y(y + ratio lr G_y(x, y)), T times;   x <- x - lr G_x(x, y)

    x may move kappa times faster than in `zo_gda`, since y keeps up.

    Args:
        lr: step size of x (eta_1).
        eps: radius of the pairs.
        ratio: y's step size over x's.
        ascents: T (the paper: of the order of kappa log 1/epsilon).
        nx: draws of x in its step.
        ny: draws of y in each of its steps.
        y_rule: how y moves; plain if not given.
        law: "normal" (the paper) or "signs".
        schedule: "constant" (the paper), "cosine" or "linear".

    Raises:
        ValueError: a setting outside its range.

    Cost: 2 ny evaluations in each of T steps, 2 nx in the one after; no memory; 25 journal bytes a draw and more.

    Example:
        >>> zo_gdmsa(ascents=3, ny=2).probe.forwards
        3.5

    Reference: arXiv 2001.07819, algorithm 2.
    """
    probe = InTurn(nx, ny, ascents)
    return _game("zo_gdmsa", probe, lr, eps, ratio, nx, ny, y_rule, law, schedule, {"ascents": ascents})


def zo_extragradient(
    lr: float = 1e-2, eps: float = 1e-4, *, ratio: float = 1.0, nx: int = 1, ny: int = 1, y_rule: Rule | None = None,
    law: Law = "normal", schedule: str = "constant",
) -> Method:  # fmt: skip
    """Extragradient by differences: both players look where this step would lead them, and move from here by what they see there.

        (x', y') = (x - lr G_x(x, y), y + ratio lr G_y(x, y));   x <- x - lr G_x(x', y');   y <- Pi_Y(y + ratio lr G_y(x', y'))

    The second estimates have draws of their own.  Half-way y' is not projected: f has to be defined a step outside Y.

    Args:
        lr: step size of x, of both steps.
        eps: radius of the pairs.
        ratio: y's step size over x's.
        nx: draws of x an estimate.
        ny: draws of y an estimate.
        y_rule: how y moves; plain if not given.
        law: "normal" or "signs".
        schedule: "constant", "cosine" or "linear".

    Raises:
        ValueError: a setting outside its range.

    Cost: 4 (nx + ny) evaluations; no memory; 25 journal bytes a draw and more.

    Example:
        >>> zo_extragradient().probe.forwards
        8

    Reference: Korpelevich 1976, with the estimates of arXiv 2001.07819.
    """
    return _game("zo_extragradient", Ahead(nx, ny, ratio), lr, eps, ratio, nx, ny, y_rule, law, schedule, {})


def zo_vrgda(
    lr: float = 1e-2, eps: float = 1e-5, *, dx: int, dy: int, ratio: float = 10.0, ascents: int = 5, period: int = 10,
    nx: int = 1, ny: int = 1, y_rule: Rule | None = None, law: Law = "normal", schedule: str = "constant",
) -> Method:  # fmt: skip
    """ZO-VRGDA: a finite sum's game, both players' estimates carried along between full ones.

        every `period` cycles   v, w <- differences of all components along all coordinates of x, of y
        at every other step     v, w <- v, w + G_I(x_k, y_k) - G_I(x_{k-1}, y_{k-1}), the same draws and components I
        a cycle                 x <- x - lr v, once;   y <- Pi_Y(y + ratio lr w), `ascents` times

    With a noise that falls as the steps do, lr stays constant.  A step is one move and one update of the estimates, so the
    place before is that of the last move, x's or y's.  Published as ZO-SREDA-Boost before.

    Args:
        lr: step size of x (alpha).
        eps: radius of forward differences.
        dx: numbers of x; `zoptim.minimax` tells it.
        dy: numbers of y; likewise.
        ratio: y's step size over x's (beta / alpha).
        ascents: steps of y a cycle (m).
        period: cycles from refresh to refresh (q).
        nx: draws of x a step.
        ny: draws of y a step.
        y_rule: how y moves; plain if not given.
        law: "normal" (the paper) or "signs".
        schedule: "constant" (the paper), "cosine" or "linear".

    Raises:
        ValueError: a setting outside its range.

    Cost, in components: dx + dy + 1 of the whole sum a refresh, 2 (nx + ny + 1) of the batch else; memory: three vectors.

    Example:
        >>> zo_vrgda(dx=3, dy=2, ascents=4, period=2).probe.period
        10

    Reference: arXiv 2006.09361.
    """
    own = {"dx": dx, "dy": dy, "ascents": ascents, "period": period}
    _counts(nx=nx, ny=ny, **own)
    probe = probes.Carried(n=nx + ny, period=period * (ascents + 1), first=dx + dy, nx=nx, dx=dx)
    return _game("zo_vrgda", probe, lr, eps, ratio, nx, ny, y_rule, law, schedule, own,
                 Either(dx + dy, Blocks(Dense(law))), coefficients.Carried(ratio, ascents), ("vx", "vy", "previous"))  # fmt: skip


def _game(
    name: str, probe: Probe, lr: float, eps: float, ratio: float, nx: int, ny: int, y_rule: Rule | None, law: Law,
    schedule: str, own: dict[str, int], directions: Directions | None = None, weighs: Coefficients | None = None,
    vecs: tuple[str, ...] = (),
) -> Method:  # fmt: skip
    _counts(nx=nx, ny=ny, **own)
    if not (isinstance(ratio, int | float) and 0 < ratio < float("inf")):
        raise ValueError(f"ratio={ratio!r} must be a positive finite number")
    checked(lr=lr, eps=eps, law=law, schedule=schedule)
    rule: Rule = Descent() if y_rule is None else BySlot({"y": y_rule}, Descent())
    arguments = {
        "lr": lr,
        "eps": eps,
        "ratio": ratio,
        "nx": nx,
        "ny": ny,
        "law": law,
        "schedule": schedule,
        **own,
    }
    return Method(
        name, directions or Blocks(Dense(law)), probe, weighs or Opposed(ratio), rule, lr, eps, SCHEDULES[schedule](), arguments,
        frozenset({"shift-free"}), vecs=vecs,
    )  # fmt: skip


def _counts(**settings: int) -> None:
    for name, value in settings.items():
        if not (isinstance(value, int) and value >= 1):
            raise ValueError(f"{name}={value!r} must be a whole number from 1")


GAME = "Zeroth-Order Algorithms for Nonconvex Minimax Problems with Improved Complexities"

CARDS = (
    MethodCard("zo_gda", zo_gda, GAME, "2001.07819",
               "2 (nx + ny)", "none", "80 B", "minimax: descent and ascent at once"),
    MethodCard("zo_gdmsa", zo_gdmsa, GAME, "2001.07819",
               "2nx or 2ny", "none", "55 B", "minimax: several steps of ascent before one of descent"),
    MethodCard("zo_extragradient", zo_extragradient, "The extragradient method for finding saddle points", "1976",
               "4 (nx + ny)", "none", "110 B", "minimax: both players look ahead, then move"),
    MethodCard("zo_vrgda", zo_vrgda, "Gradient Free Minimax Optimization: Variance Reduction and Faster Convergence", "2006.09361",
               "2 (nx + ny + 1)", "3 vectors", "300 B", "minimax over a finite sum: estimates carried along"),
)  # fmt: skip
