#include "worker/comm/sliced_wait.h"

#include <torch/csrc/distributed/c10d/Work.hpp>

#include <algorithm>
#include <exception>

namespace rtrain::comm {
namespace {

constexpr std::chrono::milliseconds kLongestSlice{10'000};

}  // namespace

bool wait_in_slices(c10d::Work& work, std::chrono::milliseconds limit, std::chrono::milliseconds first,
                    const std::function<void()>& look) {
  using std::chrono::milliseconds, std::chrono::steady_clock;
  const auto deadline = steady_clock::now() + limit;
  for (auto slice = first; !work.isCompleted(); slice = std::min(slice * 2, kLongestSlice)) {
    const auto left = std::chrono::ceil<milliseconds>(deadline - steady_clock::now());
    try {
      work.wait(std::clamp(left, milliseconds(1), slice));
      return true;
    } catch (const std::exception&) {
      // The end of the slice, or the work's own error. It may end between the two, well or not: what it says
      // itself counts.
      if (work.isCompleted()) break;
    }
    look();
    if (steady_clock::now() > deadline) return false;
  }
  work.wait();
  return true;
}

}  // namespace rtrain::comm
