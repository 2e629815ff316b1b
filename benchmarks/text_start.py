"""Makes the public start of text recognition that comes with the package, and prints how well it reads.

Whoever changes the letterer or the recogniser runs this again: a test compares the recipe that the file was
made by. Minutes.
"""

import json
import sys
import time
from pathlib import Path

import torch

from fedstyle_secure.config import Config
from fedstyle_secure.files import write_arrays
from fedstyle_secure.galleries.opening import open_gallery
from fedstyle_secure.system import tensors
from fedstyle_secure.systems.text.measure import Meter
from fedstyle_secure.systems.text.recogniser import start
from fedstyle_secure.systems.text.recogniser.charset import Charset
from fedstyle_secure.systems.text.recogniser.network import Recogniser


def main() -> None:
    torch.set_num_threads(1)
    config = Config.from_dict({"run": {"system": "text"}})
    charset, epochs, began = Charset(config.text.charset), config.text.practice_epochs, time.process_time()
    arrays = start.practise(charset, epochs)
    seconds = time.process_time() - began
    path = Path(sys.argv[1] if len(sys.argv) > 1 else Path(start.__file__).with_name(start.SHIPPED))
    write_arrays(path, arrays, {"recipe": start.recipe(charset, epochs)})
    model = Recogniser(charset.classes)
    model.load_state_dict(tensors(arrays))
    gallery = open_gallery(config.gallery)
    for what, artists in (("public", gallery.public_artists), ("private", gallery.artists)):
        found = Meter(config, charset, lambda _: model, [gallery.portfolio(a) for a in artists])
        figures = found.everybody(model)
        print(json.dumps({"artists": what, "cpu_s": round(seconds), **vars(figures)}), flush=True)


if __name__ == "__main__":
    main()
