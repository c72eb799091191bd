// One line that says where a training loop is, in the manner of tqdm and Lightning. Pure.
#pragma once

#include "proto/api/api.h"

#include <string>

namespace rtrain::cli {

/// "Epoch 3", "Sanity Checking", "Validation", "Testing", "Predicting".
[[nodiscard]] std::string stage_name(const proto::ProgressDoc& progress);
/// "Epoch 3:  47%|████▋     | 470/1000 [00:12<00:13, 39.1it/s, loss=0.21]", at most `width` columns (0: any):
/// the bar shrinks first, then the metrics are cut. `elapsed_s`: since the stage began. Without a known end:
/// "Epoch 3: 470it [00:12, 39.1it/s]".
[[nodiscard]] std::string progress_bar(const proto::ProgressDoc& progress, double elapsed_s, int width);
/// The same without a bar, for a pipe: "Epoch 3: 470/1000 [00:12<00:13, 39.1it/s, loss=0.21]".
[[nodiscard]] std::string progress_text(const proto::ProgressDoc& progress, double elapsed_s);

}  // namespace rtrain::cli
