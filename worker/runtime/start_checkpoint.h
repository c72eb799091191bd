// Which checkpoint an attempt begins at: the newest of the job whose files are whole.
#pragma once

#include "common/base/result.h"
#include "proto/message/types.h"
#include "worker/runtime/key_value_store.h"

#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace rtrain::runtime {

/// A path; nullopt: the job has no checkpoint that is there. kIo: all that are there are damaged.
using StartCheckpoint = Result<std::optional<std::string>>;

/// The newest folder whose files are those of its checksums.json; one without such a list counts as whole.
/// Reads all its files, about 3 GB/s where they are in the page cache. Folders that are gone are passed over.
/// @param fallback what comes after all of them, resume_from_checkpoint; "" nothing
/// @param tell gets a line for each damaged one that an older one stands in for
[[nodiscard]] StartCheckpoint newest_whole(const std::vector<proto::CheckpointRecord>& checkpoints,
                                           const std::string& fallback,
                                           const std::function<void(const std::string&)>& tell);

/// The same without reading: what is there counts as whole.
[[nodiscard]] std::optional<std::string> newest_there(const std::vector<proto::CheckpointRecord>& checkpoints,
                                                      const std::string& fallback);

/// All ranks have to begin at the same one, and one that read other bytes than the others would choose
/// another. So rank 0 chooses and says it under the key "start_checkpoint" ("+path", "+" for none, "-error").
void announce_start(KeyValueStore& store, const StartCheckpoint& start);
/// @param wait_more pauses and is called between looks; false gives up (kTimeout).
[[nodiscard]] StartCheckpoint await_start(KeyValueStore& store, const std::function<bool()>& wait_more);

}  // namespace rtrain::runtime
