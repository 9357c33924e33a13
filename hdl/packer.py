"""The packer: words of a tile's bitmap to sub-rows of at most one key a lane (golden twin: golden/packer.py).

`docs/packer.md` has the reasons and the proofs.
"""

from myhdl import block

from hdl.full_packer import full_packer
from hdl.lookaside_packer import lookaside_packer


@block
def packer(clk, reset, words, placements, config):
    """The packer for the connection of this configuration; both have the same interfaces.

    Args:
        words: stream (`hdl.tiled.work.words_stream`) of bitmap words, never 0, and end-of-tile marks.
        placements: to the work queue (`hdl.tiled.work.Placements`).
    """
    if config.full_connection:
        return full_packer(clk, reset, words, placements, config)
    return lookaside_packer(clk, reset, words, placements, config)
