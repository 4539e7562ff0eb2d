"""Layer 3: one step of each recurrence and its analytic Jacobian, in NumPy. A new cell is one file and one line in `CELLS`."""

from __future__ import annotations

from statewise.cells.base import Cell, Linearised, layer_count, layer_parameters
from statewise.cells.diagonal import DiagonalCell
from statewise.cells.elman import ElmanCell, RectifiedCell
from statewise.cells.gru import GRUCell
from statewise.cells.linear import LinearCell
from statewise.cells.lstm import LSTMCell

CELLS: dict[str, Cell] = {
    cell.name: cell for cell in (LinearCell(), DiagonalCell(), ElmanCell(), RectifiedCell(), GRUCell(), LSTMCell())
}

__all__ = ["CELLS", "Cell", "Linearised", "layer_count", "layer_parameters"]
