"""Trees on all windows of images: loops first, then the growth of one tree, then the estimators.

`canvas` lays images out as bytes, `kernels`, `splits`, `subtree` and `walk` are the loops, `growth` and
`leafwise` grow a tree, `ensemble` holds them, `base` and the files beside it are the estimators.
"""
