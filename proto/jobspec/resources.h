// resources_per_worker: Ray's rules.
#pragma once

#include "proto/jobspec/object_reader.h"

namespace rtrain::proto {

/// Reads the amounts under `key`; nothing when there are none, or when something is wrong with all of them.
[[nodiscard]] std::optional<Resources> read_amounts(ObjectReader& owner, const char* key);
/// Reads resources_per_worker under `scaling` into `config` and holds it against use_gpu.
void read_resources(ObjectReader& scaling, ScalingConfig& config);
/// The largest amount of a resource that can be asked for or offered: what is counted in whole pieces stays
/// within an int.
[[nodiscard]] double amount_max(std::string_view name);
/// "8GiB", "512MB", "1024" -> bytes; nullopt when it is no such text. Units: B, kB, MB, GB, TB (powers of
/// 1000), KiB, MiB, GiB, TiB.
[[nodiscard]] std::optional<double> parse_bytes(std::string_view text);

}  // namespace rtrain::proto
