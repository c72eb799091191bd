#include "cli/checkpoint_files.h"

#include "common/os/open_file.h"
#include "proto/tensors/checksums.h"
#include "proto/tensors/safetensors_file.h"
#include "proto/tensors/torch_file.h"

#include <algorithm>
#include <filesystem>
#include <utility>

namespace rtrain::cli {
namespace {

namespace fs = std::filesystem;

using tensors::kLoopFile, tensors::kReportedFolder;

std::vector<std::string> safetensors_in(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error); !error && entry != fs::directory_iterator();
       entry.increment(error)) {
    const auto name = entry->path().filename().string();
    if (name.ends_with(".safetensors") && !name.starts_with('.')) names.push_back(name);
  }
  std::ranges::sort(names);
  // The model first.
  std::ranges::stable_partition(names, [](const std::string& name) { return name == kModelFile; });
  return names;
}

bool is_model(const std::string& name) {
  return name.starts_with("model") || name.starts_with("pytorch_model");
}

Result<CheckpointFiles> find_in_folder(const fs::path& folder, const std::string& index_name = kIndexFile) {
  CheckpointFiles found;
  found.path = folder.string();
  found.is_folder = true;
  found.index = index_name;
  std::error_code ignored;
  if (const auto status = fs::symlink_status(folder / index_name, ignored); fs::exists(status)) {
    const auto path = (folder / index_name).string();
    if (!fs::is_regular_file(fs::status(path, ignored)))
      return fail(Errc::kIo, path + ": is no file that can be read");
    const bool of_trainer = fs::exists(folder / kLoopFile, ignored);
    found.kind = of_trainer ? CheckpointKind::kTrainer : CheckpointKind::kSharded;
    auto index = tensors::read_shard_index(path);
    if (!index) return index.error();
    found.files = found.indexed = index->files();
    found.weight_map = std::move(index->weight_map);
    for (const auto& other : of_trainer ? safetensors_in(folder) : std::vector<std::string>())
      if (std::ranges::find(found.indexed, other) == found.indexed.end())
        (is_model(other) ? found.strays : found.files).push_back(other);
    return found;
  }
  found.files = safetensors_in(folder);
  if (fs::exists(folder / kModelFile, ignored) && fs::exists(folder / kLoopFile, ignored)) {
    found.kind = CheckpointKind::kTrainer;
    return found;
  }
  if (!found.files.empty()) return found;
  if (fs::exists(folder / kReportedFolder, ignored)) {
    auto inner = find_checkpoint((folder / kReportedFolder).string());
    if (inner) inner->reported = found.path;
    return inner;
  }
  if (fs::exists(folder / tensors::kChecksumsFile, ignored)) {
    found.kind = CheckpointKind::kFiles;
    return found;
  }
  return fail(Errc::kIo, found.path + ": holds neither " + kModelFile + " nor " + kReportedFolder,
              "name the folder of a checkpoint, or one of its files");
}

}  // namespace

std::string_view to_string(CheckpointKind kind) {
  switch (kind) {
    case CheckpointKind::kTrainer: return "rtrain";
    case CheckpointKind::kSafetensors: return "safetensors";
    case CheckpointKind::kSharded: return "sharded safetensors";
    case CheckpointKind::kTorch: return "pytorch";
    case CheckpointKind::kFiles: return "files";
  }
  return "";
}

std::vector<tensors::Tensor> CheckpointFiles::weights() const {
  std::vector<tensors::Tensor> all;
  for (const auto& group : groups)
    if (group.weights) all.insert(all.end(), group.tensors.begin(), group.tensors.end());
  return all;
}

std::string CheckpointFiles::file_path(const std::string& file) const {
  return is_folder ? (fs::path(path) / file).string() : path;
}

Result<CheckpointFiles> find_checkpoint(const std::string& given) {
  fs::path path(given);
  if (!path.has_filename()) path = path.parent_path();
  std::error_code error;
  const auto status = fs::status(path, error);
  if (!fs::exists(status)) return fail(Errc::kNotFound, given + ": no such file or folder");
  if (fs::is_directory(status)) return find_in_folder(path);
  if (path.filename().string().ends_with(".index.json"))
    return find_in_folder(path.parent_path().empty() ? "." : path.parent_path(), path.filename().string());
  auto file = os::OpenFile::open(path.string());
  if (!file) return file.error();
  CheckpointFiles found;
  found.path = path.string();
  found.files = {path.filename().string()};
  const auto extension = path.extension().string();
  const bool of_torch =
      extension == ".pt" || extension == ".pth" || extension == ".ckpt" || extension == ".bin";
  found.kind = of_torch || tensors::looks_like_torch_file(**file) ? CheckpointKind::kTorch
                                                                  : CheckpointKind::kSafetensors;
  return found;
}

Result<Done> read_tensor_file(CheckpointFiles& checkpoint, const std::string& file) {
  const auto path = checkpoint.file_path(file);
  if (checkpoint.kind == CheckpointKind::kTorch) {
    auto opened = tensors::open_torch_file(path);
    if (!opened) return opened.error();
    auto content = tensors::content_of(*opened, checkpoint.key);
    if (!content) return content.error();
    checkpoint.groups.push_back({file, true, std::move(content->weights), {}});
    if (!content->rest.empty()) checkpoint.groups.push_back({file, false, std::move(content->rest), {}});
    checkpoint.plain = std::move(content->plain);
    checkpoint.unplain = std::move(content->unplain);
    checkpoint.unplain_more = content->unplain_more;
    return ok();
  }
  auto opened = tensors::open_safetensors(path);
  if (!opened) return opened.error();
  // A folder that somebody else wrote may have names of its own: all of its files are weights then.
  const auto& indexed = checkpoint.indexed;
  const bool weights = !indexed.empty() ? std::ranges::find(indexed, file) != indexed.end()
                                        : is_model(file) || std::ranges::none_of(checkpoint.files, is_model);
  checkpoint.groups.push_back({file, weights, std::move(opened->tensors), std::move(opened->metadata)});
  return ok();
}

Result<proto::Json> read_plain(const CheckpointFiles& checkpoint) {
  const bool of_trainer = checkpoint.kind == CheckpointKind::kTrainer;
  std::error_code ignored;
  if (!of_trainer && (!checkpoint.is_folder || !fs::exists(checkpoint.file_path(kRestFile), ignored)))
    return proto::Json();
  const auto path = checkpoint.file_path(of_trainer ? kLoopFile : kRestFile);
  constexpr std::size_t kBytesMax = 256u << 20;
  auto text = os::read_regular_file(path, kBytesMax);
  if (!text) return text.error();
  auto json = proto::parse_json(*text, {.bytes_max = kBytesMax});
  if (!json) return fail(Errc::kIo, path + ": " + json.error().message());
  if (!of_trainer) return json;
  if (!json->is_object() || json->value("format", proto::Json()) != tensors::kLoopFormat)
    return fail(Errc::kIo, path + ": is not rtrain's loop.json");
  const auto version = json->value("version", proto::Json());
  if (!version.is_number_integer() || version.get<std::int64_t>() > tensors::kLoopVersion)
    return fail(Errc::kIo, path + ": has version " + proto::dump_json(version) +
                               ", this rtrain reads up to " + std::to_string(tensors::kLoopVersion));
  return json;
}

std::vector<std::string> rest_of(const CheckpointFiles& checkpoint) {
  std::vector<std::string> rest;
  for (const auto& group : checkpoint.groups)
    if (!group.weights)
      rest.push_back(std::to_string(group.tensors.size()) + " tensors of " + group.file +
                     " beside the weights");
  if (checkpoint.plain.is_object())
    for (const auto& [key, value] : checkpoint.plain.items()) rest.push_back(key);
  return rest;
}

Result<CheckpointFiles> open_checkpoint(const std::string& path, const std::string& key) {
  auto found = find_checkpoint(path);
  if (!found) return found;
  if (!key.empty() && found->kind != CheckpointKind::kTorch)
    return fail(Errc::kInvalidArgument, found->path + ": only files of PyTorch hold dicts of weights by key",
                "leave --key out");
  found->key = key;
  for (const auto& file : found->files)
    if (auto done = read_tensor_file(*found, file); !done) return done.error();
  auto plain = read_plain(*found);
  if (!plain) return plain.error();
  if (!plain->is_null()) found->plain = std::move(*plain);
  return found;
}

}  // namespace rtrain::cli
