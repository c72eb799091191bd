// What `rtrain checkpoint` does, one file each.
#pragma once

#include "cli/verb.h"

namespace rtrain::cli {

[[nodiscard]] Result<int> inspect_checkpoint(const Call& call, const std::string& path);
[[nodiscard]] Result<int> verify_checkpoint(const Call& call, const std::string& path);
[[nodiscard]] Result<int> diff_checkpoints(const Call& call, const std::string& a, const std::string& b);
[[nodiscard]] Result<int> convert_checkpoint(const Call& call, const std::string& in, const std::string& out);
[[nodiscard]] Result<int> merge_checkpoint(const Call& call, const std::string& in, const std::string& out);
[[nodiscard]] Result<int> reshard_checkpoint(const Call& call, const std::string& in, const std::string& out);

}  // namespace rtrain::cli
