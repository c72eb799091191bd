// How the ranks agree on one report with a checkpoint. Over a key-value store, so that a rank that brings no
// checkpoint never waits (as in Ray, where often rank 0 alone has one) and no collective of the training loop
// is disturbed.
#pragma once

#include "common/base/result.h"
#include "worker/runtime/key_value_store.h"

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

namespace rtrain::runtime {

/// Keys: "report/<rank>" the number of that rank's last report; "finished/<rank>" its training function
/// returned; "staged/<n>/<rank>" what became of its files ("+name" good, else "-" and why not);
/// "published/<n>" what became of the whole ("+path" or "-error"). Old keys are removed: the store does not
/// grow.
/// @thread one at a time.
class ReportAgreement {
 public:
  /// `wait_more()` pauses and is called between looks; false gives up (kTimeout).
  ReportAgreement(KeyValueStore& store, int rank, int world_size, std::function<bool()> wait_more);

  /// Report number n (from 1) of this rank brings no checkpoint.
  void pass(std::int64_t n);
  /// This rank's training function has returned: it makes no further report, and nobody must wait for one.
  void finish();
  /// This rank has staged its files for report n (`staged` an error: it could not). Rank 0: waits for all
  /// ranks' report n, then calls `publish` unless one failed, and tells the others. Others: wait for that.
  /// All get what `publish` gave. kIo the first error, with its rank. kInvalidArgument: rank 0's report n
  /// brings no checkpoint, or a rank that has returned never came to report n. kTimeout.
  /// @param name what this rank calls the checkpoint; one that rank 0 calls otherwise is an error
  [[nodiscard]] Result<std::string> settle(std::int64_t n, const Result<Done>& staged,
                                           const std::function<Result<std::string>()>& publish,
                                           const std::string& name = {});
  /// Waits until rank 0 has published what it brought in report n, or has passed it. False: gave up.
  [[nodiscard]] bool await_rank_0(std::int64_t n);

 private:
  [[nodiscard]] Result<std::string> settle_as_first(std::int64_t n, const std::string& name,
                                                    const std::function<Result<std::string>()>& publish);
  [[nodiscard]] Result<std::string> await_first(std::int64_t n);
  [[nodiscard]] std::int64_t last_report(int rank);
  /// The rank has returned and did not come to report n.
  [[nodiscard]] std::optional<Error> never_comes(int rank, std::int64_t n);
  KeyValueStore& store_;
  int rank_, world_size_;
  std::int64_t published_ = 0;
  std::function<bool()> wait_more_;
};

}  // namespace rtrain::runtime
