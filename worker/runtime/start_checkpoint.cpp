#include "worker/runtime/start_checkpoint.h"

#include "proto/tensors/checksums.h"

#include <filesystem>

namespace rtrain::runtime {
namespace {

constexpr const char* kStartKey = "start_checkpoint";

std::vector<std::string> there(const std::vector<proto::CheckpointRecord>& checkpoints) {
  std::vector<std::string> paths;
  std::error_code ignored;
  for (auto it = checkpoints.rbegin(); it != checkpoints.rend(); ++it)
    if (std::filesystem::is_directory(it->path, ignored)) paths.push_back(it->path);
  return paths;
}

std::optional<std::string> unless_empty(const std::string& path) {
  return path.empty() ? std::nullopt : std::optional(path);
}

}  // namespace

StartCheckpoint newest_whole(const std::vector<proto::CheckpointRecord>& checkpoints,
                             const std::string& fallback,
                             const std::function<void(const std::string&)>& tell) {
  std::vector<std::string> damaged;
  std::optional<std::string> found;
  for (const auto& path : there(checkpoints)) {
    const auto whole = tensors::check_folder(path);
    if (whole) {
      found = path;
      break;
    }
    damaged.push_back("checkpoint " + path + " is damaged: " + whole.error().message());
  }
  if (!found) found = unless_empty(fallback);
  if (!found && !damaged.empty())
    return fail(Errc::kIo,
                damaged.front() + (damaged.size() == 1
                                       ? "; the job has no other checkpoint"
                                       : "; so are the " + std::to_string(damaged.size() - 1) + " before it"),
                "`rtrain checkpoint verify` shows what is left of it; without its checksums.json it is taken "
                "as it is");
  for (const auto& line : damaged) tell(line + "; going on from " + *found);
  return found;
}

std::optional<std::string> newest_there(const std::vector<proto::CheckpointRecord>& checkpoints,
                                        const std::string& fallback) {
  const auto paths = there(checkpoints);
  return paths.empty() ? unless_empty(fallback) : std::optional(paths.front());
}

void announce_start(KeyValueStore& store, const StartCheckpoint& start) {
  const auto why = [&] {
    return start.error().message() + (start.error().hint().empty() ? "" : " (" + start.error().hint() + ")");
  };
  store.set(kStartKey, start ? "+" + start->value_or("") : "-" + why());
}

StartCheckpoint await_start(KeyValueStore& store, const std::function<bool()>& wait_more) {
  for (;;) {
    if (const auto text = store.get(kStartKey)) {
      if (text->starts_with('+')) return unless_empty(text->substr(1));
      return fail(Errc::kIo, text->empty() ? *text : text->substr(1));
    }
    if (!wait_more())
      return fail(
          Errc::kTimeout, "rank 0 has not said in time which checkpoint the job begins at",
          "torch_config.timeout_s is the limit; rank 0 reads the checkpoint to see whether it is whole");
  }
}

}  // namespace rtrain::runtime
