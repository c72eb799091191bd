// What `rtrain-worker --probe` answered, and what its end means when that is not everything.
#pragma once

#include "cli/limited_child.h"
#include "proto/record/check.h"

#include <chrono>
#include <functional>
#include <optional>
#include <string>

namespace rtrain::cli {

struct ProbeAnswer {
  int cuda = 0, gpus = 0;   ///< of LibTorch; 13000 is CUDA 13.0, 0 none
  bool is_whole = false;    ///< its last check came last
  std::string last_check;   ///< "" there was none
  std::string other_line;   ///< the last line that is no JSON, of its stderr too
  std::string not_a_check;  ///< the first JSON that is no check
  ChildEnd end;
};

/// Runs the program; `told` gets each check of it at once. @thread that of main(), while there is no other
[[nodiscard]] ProbeAnswer ask_worker(const std::string& program, std::chrono::milliseconds limit,
                                     const std::function<void(proto::Check)>& told);
/// Nothing: the answer is whole. Pure.
[[nodiscard]] std::optional<proto::Check> judge_probe(const ProbeAnswer& answer, const std::string& program);

/// Nothing when the line is not a check. Pure.
[[nodiscard]] std::optional<proto::Check> read_check(const std::string& line);
/// The figure when it is there and a whole number. Pure.
[[nodiscard]] int whole_figure(const proto::Check& check, const std::string& name, int otherwise);

}  // namespace rtrain::cli
