"""Write what debhelper installs (units, settings, manual, completion): laid_down.py DIRECTORY"""

import sys
from pathlib import Path

from asupervisor.cli.manual import completion, manual
from asupervisor.installation.files import UNITS, defaults, unit

directory = Path(sys.argv[1])
for name in UNITS:
    (directory / name).write_text(unit(name, "/usr/bin/asupervisor"))
(directory / "asupervisor.default").write_text(defaults())
for name, text in manual().items():
    (directory / "manual" / name).write_text(text)
(directory / "completion").write_text(completion())
