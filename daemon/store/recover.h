// Makes a sound journal out of a broken one: `rtraind recover STATE_DIR [--from BACKUP]`.
#pragma once

#include "common/base/result.h"

#include <cstdint>
#include <string>
#include <vector>

namespace rtrain::store {

struct RecoverReport {
  std::string aside;   ///< the folder in which the old database lies now; "" there was none
  std::string backup;  ///< the backup that was used, besides what could be read or alone; "" none
  std::int64_t jobs = 0, points = 0;  ///< in the new journal
  std::int64_t next_id = 1;           ///< of the next job
  std::vector<std::string> lost;      ///< each one line: what is not there any more
  std::int64_t sweeps = 0;            ///< in the new journal
};

/// Without `from`: each job is taken from the old database as far as it can be read and its events replay,
/// from its pages when the database is broken (salvage.h), or from the newest sound backup where that has
/// more of it. A job that ended and whose events are not all there is taken by its snapshot: how it ended is
/// kept, the history is shorter. With `from`: everything comes from that backup. Then the metric files are
/// indexed anew, and the numbers of jobs go on above all that were ever given. The old database is moved
/// aside, never changed. Killed at any moment it leaves a folder that no head starts on and that the next run
/// begins anew with. kConflict while a head uses the folder; kNotFound: neither a journal that can be read
/// nor a sound backup; kIo.
[[nodiscard]] Result<RecoverReport> recover(const std::string& state_dir, const std::string& from = "");

}  // namespace rtrain::store
