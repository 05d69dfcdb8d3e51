"""The way from exposures to visits, in the order of the data.

``visits`` has what is passed on. ``exposures`` finds the exposures that are meant, which ``groups`` groups into visits;
``pointings`` says where each looked, and an algorithm in ``regions`` which piece of sky that is. ``plan`` compares with
what is stored, and a whole plan is a ``visit_plan``. ``records`` makes rows of visits, ``write`` stores them, and
``outcome`` says what became of them.
"""
