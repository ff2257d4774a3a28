"""Triton's Python backend: the classifier, or the identity.

The stub links the distribution's interpreter, not a virtual environment's, so the environment's packages are put
on the path first (numpy below 2 among them: the backend is built against 1.x).

Settings (written by the runner into ``config.pbtxt``) and why:

- ``dynamic_batching`` with ``max_queue_delay_microseconds``, the best of those that were tried (``setting.json``), and in the
  open loop ``default_queue_policy``, which refuses what waited too long:
  https://docs.nvidia.com/deeplearning/triton-inference-server/user-guide/docs/user_guide/batcher.html
- ``instance_group``: https://docs.nvidia.com/deeplearning/triton-inference-server/user-guide/docs/user_guide/optimization.html
- The identity model is not batched (``max_batch_size: 0``), which is its quickest way here.
"""

import os
import sys

sys.path[:0] = os.environ["PEER_PATH"].split(os.pathsep)

import numpy as np  # noqa: E402
import triton_python_backend_utils as pb_utils  # noqa: E402
from classifier import Classifier, read_work  # noqa: E402


class TritonPythonModel:
    """One instance."""

    def initialize(self, args):
        """Read the work."""
        self.work = read_work()
        if self.work["kind"] == "text":
            self.model = Classifier(self.work, int(os.environ["PEER_THREADS"]))

    def execute(self, requests):
        """Answer the requests that Triton's batcher put together, as one batch."""
        if self.work["kind"] == "identity":
            return [
                pb_utils.InferenceResponse(
                    [
                        pb_utils.Tensor(
                            "y", pb_utils.get_input_tensor_by_name(request, "x").as_numpy()
                        )
                    ]
                )
                for request in requests
            ]
        columns = [
            pb_utils.get_input_tensor_by_name(request, "text").as_numpy().reshape(-1)
            for request in requests
        ]
        scores = self.model.scores([text.decode() for column in columns for text in column])
        responses, start = [], 0
        for column in columns:
            part = scores[start : start + len(column)].astype(np.float32)
            start += len(column)
            labels = [[self.model.labels[index].encode()] for index in part.argmax(axis=-1)]
            responses.append(
                pb_utils.InferenceResponse(
                    [
                        pb_utils.Tensor("label", np.array(labels, dtype=np.object_)),
                        pb_utils.Tensor("scores", part),
                    ]
                )
            )
        return responses
