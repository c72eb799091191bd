// Files of the local file system: read by position, written whole or not at all.
#pragma once

#include <rtrain/checkpoint_io.h>

#include <cstdint>
#include <filesystem>
#include <memory>

namespace rtrain::files {

/// @throws std::runtime_error names path and cause: it cannot be opened, or is no regular file.
[[nodiscard]] std::unique_ptr<CheckpointFile> open_local(const std::filesystem::path& path);
/// Temporary file, fsync, rename, fsync of the folder.
/// @throws std::runtime_error names path and cause; what `content` throws. Nothing is left behind.
void write_local(const std::filesystem::path& path, const CheckpointDraft::Content& content);
/// Some bytes of a file that has `size` in the end, and fsync. Other processes may write others.
/// @throws std::runtime_error names path and cause; what `ranges` throws.
void write_local_ranges(const std::filesystem::path& path, std::uint64_t size,
                        const CheckpointDraft::Ranges& ranges);

}  // namespace rtrain::files
