// Where the writing threads of several ranks wait for each other: in the job's key-value store, beside the
// collectives of the training.
#pragma once

#include "worker/runtime/key_value_store.h"

#include <rtrain/export.h>

#include <cstdint>
#include <functional>
#include <string>

namespace rtrain {

/// One save. Keys: "save/<n>/<place>/<rank>", "save/<n>/failed" (which rank, and why). A rank removes its
/// keys of the save before once all ranks are in this one.
/// @thread the writing thread.
class RTRAIN_API SaveAgreement {
 public:
  /// @param number of the save, the same on all ranks, from 1 and without gaps.
  /// @param wait_more pauses and is called between looks; false gives up.
  SaveAgreement(runtime::KeyValueStore& store, std::int64_t number, int rank, int world_size,
                std::function<bool()> wait_more);
  /// Returns once all ranks have called it for this place. Each goes to the same places, in the same order.
  /// @throws std::runtime_error another rank failed (names it and why), or did not come.
  void meet(const std::string& place);
  /// Tells the others that this rank cannot go on.
  void fail(const std::string& why);

 private:
  runtime::KeyValueStore& store_;
  std::int64_t number_;
  int rank_, world_size_;
  std::function<bool()> wait_more_;
};

}  // namespace rtrain
