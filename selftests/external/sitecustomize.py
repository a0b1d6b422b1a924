# SPDX-License-Identifier: GPL-2.0
"""Python reads this before anything else, see ci/guest/external.sh.

pyverbs 56.1 cannot make a DmaBufMR, on any NIC: its __init__() calls a method of
DmaBuf that Cython hides from Python (mr.pyx:419, dmabuf.pxd). Here the method is
there, in a subclass, and DmaBufMR makes its buffers of that. The tests are as they
are.
"""

import importlib
import pathlib

import pyverbs.dmabuf
import pyverbs.mr

# Other parts look the class up by its name when they are loaded, and want the
# first one.
top = pathlib.Path(pyverbs.__path__[0])
for part in top.rglob('*.so'):
    name = part.relative_to(top.parent).with_name(part.name.split('.')[0])
    importlib.import_module('.'.join(name.parts))


class DmaBuf(pyverbs.dmabuf.DmaBuf):
    """One that can be called what DmaBufMR calls."""

    def add_ref(self, mr):
        """The region holds the buffer; the buffer need not know it."""


class DmaBufMR(pyverbs.mr.DmaBufMR):
    """The same region of such a buffer."""

    def __init__(self, pd, length, access, dmabuf=None, offset=0, gpu=0, gtt=0):
        if dmabuf is None:
            dmabuf = DmaBuf(length + offset, gpu, gtt)
        super().__init__(pd, length, access, dmabuf, offset, gpu, gtt)


pyverbs.mr.DmaBufMR = DmaBufMR
