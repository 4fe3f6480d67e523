"""What PyInstaller takes along with lstm_fast beyond what its import statements name.

A reader or a backend brings its library with it where that is installed, such as torch or numba: a
program that does without is smaller with `--exclude-module torch`.
"""

from PyInstaller.utils.hooks import collect_submodules

hiddenimports = [
    "_cffi_backend",  # imported by the native core, in C
    *collect_submodules("lstm_fast._backends"),
    *collect_submodules("lstm_fast.formats"),
]
