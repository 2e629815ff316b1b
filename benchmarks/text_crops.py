"""How well the public start of text recognition reads real crops: benchmarks/text_crops.py FOLDER...

Each folder is what `fedstyle evaluate` takes, such as the test crops of IIIT5K, SVT or ICDAR 2013 with a
`gt.txt`; they have research terms of their own, so whoever measures brings them. The start has seen
procedural lettering and no real crop. Without a folder nothing is printed.
"""

import argparse
import json
import time
from pathlib import Path

import torch

from fedstyle_secure.config import Config
from fedstyle_secure.files import read_arrays
from fedstyle_secure.system import tensors
from fedstyle_secure.systems.text.reading import Reader, evaluate
from fedstyle_secure.systems.text.recogniser import start
from fedstyle_secure.systems.text.recogniser.network import Recogniser
from fedstyle_secure.systems.text.system import TextSystem


def main() -> None:
    shipped = Path(start.__file__).with_name(start.SHIPPED)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--start", type=Path, default=shipped, help="other weights of the same recogniser")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    system = TextSystem(Config.from_dict({"run": {"system": "text"}}))
    model = Recogniser(system.charset.classes)
    model.load_state_dict(tensors(read_arrays(asked.start)[0]))
    for folder in asked.folders:
        began = time.process_time()
        found = evaluate(Reader(system, model.eval()), folder)
        told = found.to_dict() | {"left_out": len(found.left_out)}
        print(
            json.dumps({"folder": folder.name, "cpu_s": round(time.process_time() - began, 1), **told}),
            flush=True,
        )


if __name__ == "__main__":
    main()
