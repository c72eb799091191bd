#include "worker/checkpoint/save.h"

#include "common/base/crc32c.h"
#include "proto/tensors/checksums.h"
#include "proto/tensors/trainer_folder.h"
#include "worker/checkpoint/checked_file.h"

#include <algorithm>
#include <vector>

namespace rtrain {
namespace {

tensors::Checksum checksum_of_file(CheckpointFile& file) {
  std::vector<char> piece(1u << 20);
  Crc32c crc;
  for (std::uint64_t at = 0; at < file.size();) {
    const auto size = static_cast<std::size_t>(std::min<std::uint64_t>(piece.size(), file.size() - at));
    file.read(at, piece.data(), size);
    crc.add({piece.data(), size});
    at += size;
  }
  return {file.size(), crc.value()};
}

/// What other ranks wrote is read back, where it is in this storage.
void add_files_of_others(CheckpointDraft& draft, tensors::Checksums& sums, const SaveFiles& own,
                         const SaveRanks& ranks) {
  for (const auto& [name, content] : own.shared)
    if (const auto file = draft.open(name)) sums.files.emplace(name, checksum_of_file(*file));
  for (int rank = 0; rank < ranks.world_size; ++rank) {
    const auto name = tensors::rank_file(rank);
    if (sums.files.contains(name)) continue;
    if (const auto file = draft.open(name)) sums.files.emplace(name, checksum_of_file(*file));
  }
}

void write_own(CheckpointDraft& draft, const std::filesystem::path& path, const SaveFiles& own,
               tensors::Checksums& sums) {
  for (const auto& [name, content] : own.tensors) {
    const auto& file = content;
    auto& sum = sums.files[name];
    draft.write(name, [&, where = path / name](const CheckpointDraft::Append& append) {
      sum = append_safetensors(where, file, append);
    });
  }
  for (const auto& [name, content] : own.texts) {
    const auto& text = content;
    draft.write(name, [&](const CheckpointDraft::Append& append) { append(text); });
    sums.files[name] = tensors::checksum_of_text(text);
  }
}

}  // namespace

void save_files(CheckpointIO& io, const std::filesystem::path& path, const SaveFiles& own,
                const SaveRanks& ranks) {
  std::unique_ptr<CheckpointDraft> draft;
  if (ranks.rank == 0) {
    draft = io.begin(path, ranks.rank);
    for (const auto& [name, content] : own.shared) begin_shared_file(*draft, name, path / name, content);
  }
  ranks.meet("begun");
  if (ranks.rank != 0) draft = io.begin(path, ranks.rank);
  tensors::Checksums sums;
  write_own(*draft, path, own, sums);
  for (const auto& [name, content] : own.shared)
    write_shared_file(*draft, name, path / name, content, /*wholes=*/ranks.rank == 0);
  ranks.meet("written");
  if (ranks.rank == 0) {
    add_files_of_others(*draft, sums, own, ranks);
    const auto text = tensors::checksums_text(sums);
    draft->write(tensors::kChecksumsFile, [&](const CheckpointDraft::Append& append) { append(text); });
    draft->publish();
  }
  ranks.meet("published");
  if (ranks.rank != 0) draft->publish();
}

}  // namespace rtrain
