// A language model's text as token numbers in one flat file.
#pragma once

#include <rtrain/data/dataset.h>

#include <c10/core/ScalarType.h>

#include <cstdint>
#include <filesystem>
#include <memory>

namespace rtrain::data {

struct RTRAIN_API TokenFileOptions {
  std::int64_t block_size = 1024;                 ///< tokens of an input, 1 or more
  at::ScalarType dtype = at::ScalarType::UInt16;  ///< of the file: UInt16, UInt32 or Int, little-endian
  /// tokens from the beginning of one window to that of the next, 1 or more. Default (0): block_size, so that
  /// windows do not overlap
  std::int64_t stride = 0;
  /// each window begins anywhere, drawn anew in each epoch (SampleContext), and there are as many as do not
  /// overlap: the random crops of nanoGPT. Excludes stride
  bool random = false;
};

/// Windows of block_size + 1 tokens: input is all but the last, target all but the first, int64 [N,
/// block_size]. The file (train.bin of nanoGPT and others) is memory-mapped: it may be larger than the
/// memory, and must not become shorter while it is read.
/// @throws std::invalid_argument an option is out of its range; std::runtime_error the file cannot be read,
/// has
///         no whole number of tokens, or fewer than block_size + 1 (names it).
[[nodiscard]] RTRAIN_API std::shared_ptr<Dataset> TokenFile(const std::filesystem::path& path,
                                                            TokenFileOptions options = {});

}  // namespace rtrain::data
