// What the layers ask of sizes and groups, and how they say so.
#pragma once

#include <rtrain/parallel/group.h>

#include <cstdint>
#include <string>

namespace rtrain::parallel {

/// @throws std::invalid_argument "`what` is 10, which 4 ranks cannot share equally".
void require_divides(const std::string& what, std::int64_t size, std::int64_t ranks);
/// @throws std::invalid_argument `what` is below 1.
void require_positive(const std::string& what, std::int64_t size);
/// @throws std::invalid_argument the group is null: `what` begins the message.
const Group& required(const std::string& what, const Group& group);

}  // namespace rtrain::parallel
