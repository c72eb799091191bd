// rtrain checkpoint merge and reshard: weights in one file, or in several with an index.
#include "cli/checkpoint_actions.h"
#include "cli/checkpoint_files.h"
#include "cli/checkpoint_output.h"
#include "common/os/file.h"
#include "proto/tensors/checksums.h"
#include "proto/tensors/shard_index.h"

#include <algorithm>
#include <filesystem>
#include <utility>

namespace rtrain::cli {
namespace {

namespace fs = std::filesystem;

const std::map<std::string, std::string> kMetadata{{"format", "pt"}};

/// The weights as safetensors can hold them.
Result<std::vector<tensors::Tensor>> weights_to_write(const CheckpointFiles& in) {
  auto weights = in.weights();
  if (weights.empty())
    return fail(Errc::kIo, in.path + ": holds no weights", "`rtrain checkpoint inspect` shows what it holds");
  if (in.kind == CheckpointKind::kTorch)
    return fail(Errc::kInvalidArgument, in.path + ": is no safetensors file",
                "rtrain checkpoint convert makes one of it");
  if (auto whole = require_whole(in); !whole) return whole.error();
  return weights;
}

/// What stands beside the weights of a Trainer's checkpoint, so that fit() goes on from the new one as well.
Result<Done> copy_rest(const CheckpointFiles& in, const fs::path& to) {
  if (in.kind != CheckpointKind::kTrainer) return ok();
  std::error_code error;
  for (fs::directory_iterator entry(in.path, error); !error && entry != fs::directory_iterator();
       entry.increment(error)) {
    const auto name = entry->path().filename().string();
    const bool is_weights = std::ranges::any_of(
        in.groups, [&](const TensorGroup& group) { return group.weights && group.file == name; });
    if (is_weights || name == in.index || name == tensors::kChecksumsFile || !entry->is_regular_file())
      continue;
    std::error_code failed;
    fs::copy_file(entry->path(), to / name, failed);
    if (failed) return fail_errno("copy " + entry->path().string(), failed.value());
    if (auto done = os::fsync_path((to / name).string()); !done) return done;
  }
  if (error) return fail_errno("list " + in.path, error.value());
  return ok();
}

/// Into a folder, in files of at most `max_bytes`.
Result<std::size_t> write_shards(const CheckpointFiles& in, const std::vector<tensors::Tensor>& weights,
                                 std::uint64_t max_bytes, const fs::path& out) {
  std::vector<std::uint64_t> sizes;
  std::uint64_t total = 0;
  for (const auto& tensor : weights) {
    sizes.push_back(tensor.bytes());
    total += tensor.bytes();
  }
  const auto plan = tensors::plan_shards(sizes, max_bytes);
  std::vector<std::vector<tensors::Tensor>> shards(plan.files);
  std::map<std::string, std::string> weight_map;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    shards[plan.file_of[i]].push_back(weights[i]);
    if (!weight_map.emplace(weights[i].name, plan.name(plan.file_of[i])).second)
      return fail(Errc::kIo, in.path + ": holds two tensors called \"" + weights[i].name + "\"");
  }
  const auto fill = [&](const fs::path& partial) -> Result<Done> {
    for (std::size_t file = 0; file < shards.size(); ++file) {
      const auto path = (partial / plan.name(file)).string();
      if (auto done = tensors::write_safetensors(path, shards[file], kMetadata); !done) return done;
    }
    if (plan.files > 1)
      if (auto done = os::write_file_atomic((partial / kIndexFile).string(),
                                            tensors::shard_index_text(weight_map, total));
          !done)
        return done;
    return copy_rest(in, partial);
  };
  if (auto done = write_checkpoint_folder(out, fill); !done) return done.error();
  return plan.files;
}

int tell_written(const Call& call, const fs::path& out, std::size_t tensors, std::size_t files) {
  if (call.json())
    call.console.out(proto::dump_json({{"path", out.string()}, {"tensors", tensors}, {"files", files}}) +
                     "\n");
  else
    call.console.out(out.string() + ": " + std::to_string(tensors) + " tensors in " + std::to_string(files) +
                     (files == 1 ? " file\n" : " files\n"));
  return 0;
}

struct Task {
  CheckpointFiles in;
  OutputPath out;
  std::vector<tensors::Tensor> weights;
};
Result<Task> task_of(const std::string& path, const std::string& to) {
  auto in = open_checkpoint(path);
  if (!in) return in.error();
  auto out = output_path(to);
  if (auto free = require_free(out); !free) return free.error();
  auto weights = weights_to_write(*in);
  if (!weights) return weights.error();
  return Task{std::move(*in), std::move(out), std::move(*weights)};
}

}  // namespace

Result<int> merge_checkpoint(const Call& call, const std::string& path, const std::string& to) {
  const auto task = task_of(path, to);
  if (!task) return task.error();
  const auto& [in, out, weights] = *task;
  if (out.is_folder || out.path.extension() != ".safetensors") {
    const auto files = write_shards(in, weights, ~std::uint64_t{0}, out.path);
    if (!files) return files.error();
  } else if (auto done = tensors::write_safetensors(out.path.string(), weights, kMetadata); !done) {
    return done.error();
  }
  return tell_written(call, out.path, weights.size(), 1);
}

Result<int> reshard_checkpoint(const Call& call, const std::string& path, const std::string& to) {
  auto max_bytes = Result<std::uint64_t>(tensors::kMaxShardSize);
  if (const auto given = call.args.text("max-shard-size")) {
    max_bytes = tensors::parse_shard_size(*given);
    if (!max_bytes) return fail(Errc::kInvalidArgument, "--max-shard-size " + max_bytes.error().message());
  }
  const auto task = task_of(path, to);
  if (!task) return task.error();
  const auto& [in, out, weights] = *task;
  const auto files = write_shards(in, weights, *max_bytes, out.path);
  if (!files) return files.error();
  return tell_written(call, out.path, weights.size(), *files);
}

}  // namespace rtrain::cli
