// Reads of one safetensors file by several ranks, each its own elements.
#pragma once

#include "common/base/crc32c.h"

#include <rtrain/checkpoint_io.h>
#include <rtrain/state_tree.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace rtrain {

/// Which elements of a stored tensor this rank reads: a range in row-major order; nullopt: all of them, as
/// every other rank does. Together the ranks read each element.
struct ElementRange {
  std::int64_t first = 0, count = 0;
};
using ChooseElements = std::function<std::optional<ElementRange>(const std::string& name,
                                                                 const std::vector<std::int64_t>& shape)>;

/// The ranks that read a file together.
struct PartReaders {
  bool is_first = true;  ///< one of them: it counts what all of them read
  /// A collective: what each of them has read, this one among them; nullopt: it could not.
  std::function<std::vector<std::optional<Crc32cPieces::State>>(std::optional<Crc32cPieces::State>)> exchange;
};

/// Of a tree that `own` is this rank's part of: the elements that it has. What `own` does not have, or in
/// another shape, is read whole.
[[nodiscard]] ChooseElements elements_of(const StateTree& own);
/// The same of the optimizers' state, "<optimizer>.<parameter>.<state>", with `own` of the parameters.
/// A single number is read whole: it may be a count of steps.
[[nodiscard]] ChooseElements elements_of_optimizers(const StateTree& own);

/// @param sum gets what was read. @param path for errors. @throws as read_safetensors().
[[nodiscard]] StateTree read_part(CheckpointFile& file, const std::filesystem::path& path,
                                  const ChooseElements& choose, bool is_first, Crc32cPieces& sum);

}  // namespace rtrain
