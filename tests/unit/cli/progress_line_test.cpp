#include "cli/progress_line.h"
#include "cli/text.h"
#include "tests/support/catch.h"

namespace progress_line_test {

using namespace rtrain;
using namespace rtrain::cli;

namespace {

proto::ProgressDoc progress() {
  return {.stage = "train",
          .epoch = 3,
          .max_epochs = 10,
          .step = 470,
          .steps = 1000,
          .steps_per_s = 39.1,
          .prog_bar = {{"loss", 0.21}}};
}

}  // namespace

TEST_CASE("progress_line: is the line that users of Lightning know", "[unit][cli]") {
  CHECK(progress_bar(progress(), 12.02, 100) ==
        "Epoch 3:  47%|████▋     | 470/1000 [00:12<00:13, 39.1it/s, loss=0.21]");
}

TEST_CASE("progress_line: ends at 100 percent, starts at 0", "[unit][cli]") {
  auto p = progress();
  p.step = 1000;
  CHECK(progress_bar(p, 25.6, 100) ==
        "Epoch 3: 100%|██████████| 1000/1000 [00:25<00:00, 39.1it/s, loss=0.21]");
  p.step = 0;
  p.steps_per_s = 0;
  p.prog_bar = proto::Json::object();
  CHECK(progress_bar(p, 0, 100) == "Epoch 3:   0%|          | 0/1000 [00:00<?]");
}

TEST_CASE("progress_line: without a known end it counts", "[unit][cli]") {
  auto p = progress();
  p.steps = -1;
  CHECK(progress_bar(p, 12, 100) == "Epoch 3: 470it [00:12, 39.1it/s, loss=0.21]");
}

TEST_CASE("progress_line: never wider than the terminal", "[unit][cli]") {
  auto p = progress();
  p.prog_bar = {{"a_rather_long_metric_name", 0.123456}, {"loss", 1e-7}, {"v_num", 4}};
  for (int width = 10; width < 130; ++width) CHECK(display_width(progress_bar(p, 12, width)) <= width);
}

TEST_CASE("progress_line: stages have Lightning's names; large rates are whole", "[unit][cli]") {
  auto p = progress();
  p.stage = "validate";
  p.steps_per_s = 1234.4;
  CHECK(progress_text(p, 1) == "Validation: 470/1000 [00:01<00:00, 1234it/s, loss=0.21]");
  p.stage = "sanity";
  CHECK(stage_name(p) == "Sanity Checking");
  p.stage = "x\x1b[2J";
  CHECK(stage_name(p) == "x");
}

}  // namespace progress_line_test
