"""Draws faces with labelled points: a seed and a number of rows come in, a `FaceTable` comes out.

Each face is a set of curves on a curved surface (`geometry`). It is rotated, painted (`painting`, `canvas`) and
photographed: light, blur and noise. The points lie on the same surface, so they agree with the picture by construction.
`labelling` adds what makes real labels hard: two labelling conventions, missing points, noise, duplicates and a few
wrong rows. `faces` puts it together. No real image or label is used; the mean face is the competition's, rounded.

``python -m facekp.data.synthetic out=DIR`` writes drawn faces in the competition's format.
"""
