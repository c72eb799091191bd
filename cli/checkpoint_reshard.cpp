// rtrain checkpoint merge and reshard: weights in one file, or in several with an index.
#include "cli/checkpoint_actions.h"
#include "cli/checkpoint_files.h"
#include "cli/checkpoint_output.h"
#include "cli/text.h"
#include "common/os/file.h"
#include "proto/tensors/checksums.h"
#include "proto/tensors/shard_index.h"

#include <algorithm>
#include <filesystem>
#include <utility>

namespace rtrain::cli {
namespace {

namespace fs = std::filesystem;

/// What the files of weights say beside their tensors: one map for all of them. Of a key with several values
/// the first one is kept, and told.
std::map<std::string, std::string> metadata_of(const CheckpointFiles& in,
                                               std::vector<std::string>& left_out) {
  std::map<std::string, std::string> all{{"format", "pt"}};
  for (const auto& group : in.groups) {
    if (!group.weights) continue;
    for (const auto& [key, value] : group.metadata) {
      const auto [place, is_new] = all.emplace(key, value);
      if (!is_new && place->second != value && key != "format")
        left_out.push_back("the __metadata__ \"" + key + "\" of " + group.file +
                           ", which another file has with another value");
    }
  }
  return all;
}

/// What a report holds beside the checkpoint of its Trainer.
void add_rest_of_report(const CheckpointFiles& in, std::vector<std::string>& left_out) {
  if (in.reported.empty()) return;
  std::error_code error;
  for (fs::directory_iterator entry(in.reported, error); !error && entry != fs::directory_iterator();
       entry.increment(error)) {
    const auto name = entry->path().filename();
    if (name != fs::path(in.path).filename() && name != tensors::kChecksumsFile)
      left_out.push_back(name.string() + ", which is beside " + in.path);
  }
}

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

/// Whether a folder below `root` is one of those around it.
bool leads_upwards(const fs::path& folder, const fs::path& root) {
  std::error_code ignored;
  if (!fs::is_symlink(fs::symlink_status(folder, ignored))) return false;
  for (auto around = folder.parent_path();; around = around.parent_path()) {
    if (fs::equivalent(folder, around, ignored)) return true;
    if (fs::equivalent(around, root, ignored) || !around.has_relative_path()) return false;
  }
}

/// What stands beside the weights of a Trainer's checkpoint, so that fit() goes on from the new one as well.
Result<Done> copy_rest(const CheckpointFiles& in, const fs::path& to) {
  if (in.kind != CheckpointKind::kTrainer) return ok();
  std::error_code error;
  fs::recursive_directory_iterator entry(in.path, fs::directory_options::follow_directory_symlink, error);
  for (; !error && entry != fs::recursive_directory_iterator(); entry.increment(error)) {
    std::error_code failed;
    // OUT may be below IN, and a link may lead to a folder around itself.
    const bool is_folder = entry->is_directory(failed);
    if (is_folder && (fs::equivalent(entry->path(), to, failed) || leads_upwards(entry->path(), in.path))) {
      entry.disable_recursion_pending();
      continue;
    }
    const auto name = entry->path().lexically_relative(in.path);
    const bool is_weights = std::ranges::any_of(
        in.groups, [&](const TensorGroup& group) { return group.weights && group.file == name; });
    if (is_weights || name == in.index || name == tensors::kChecksumsFile) continue;
    if (!is_folder) {
      if (auto done = copy_new_file(entry->path(), to / name); !done) return done;
    } else if (!fs::create_directory(to / name, failed)) {
      return fail_errno("make folder " + (to / name).string(), failed.value());
    }
  }
  if (error) return fail_errno("list " + in.path, error.value());
  return ok();
}

/// Into a folder, in files of at most `max_bytes`.
Result<std::size_t> write_shards(const CheckpointFiles& in, const std::vector<tensors::Tensor>& weights,
                                 const std::map<std::string, std::string>& metadata, std::uint64_t max_bytes,
                                 const fs::path& out) {
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
      if (auto done = tensors::write_safetensors(path, shards[file], metadata); !done) return done;
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

struct Task {
  CheckpointFiles in;
  OutputPath out;
  std::vector<tensors::Tensor> weights;
  std::map<std::string, std::string> metadata;
  std::vector<std::string> left_out;  ///< what stays in IN alone
};

int tell_written(const Call& call, const Task& task, std::size_t files) {
  const auto out = task.out.path.string();
  const auto tensors = task.weights.size();
  if (call.json()) {
    call.console.out(
        proto::dump_json(
            {{"path", out}, {"tensors", tensors}, {"files", files}, {"not_written", task.left_out}}) +
        "\n");
    return 0;
  }
  for (const auto& what : task.left_out) call.console.note("not written: " + printable(what, false));
  call.console.out(out + ": " + std::to_string(tensors) + " tensors in " + std::to_string(files) +
                   (files == 1 ? " file\n" : " files\n"));
  return 0;
}

Result<Task> task_of(const std::string& path, const std::string& to) {
  auto in = open_checkpoint(path);
  if (!in) return in.error();
  auto out = output_path(to);
  if (auto free = require_free(out); !free) return free.error();
  auto weights = weights_to_write(*in);
  if (!weights) return weights.error();
  Task task{std::move(*in), std::move(out), std::move(*weights), {}, {}};
  task.metadata = metadata_of(task.in, task.left_out);
  add_rest_of_report(task.in, task.left_out);
  return task;
}

}  // namespace

Result<int> merge_checkpoint(const Call& call, const std::string& path, const std::string& to) {
  auto task = task_of(path, to);
  if (!task) return task.error();
  return write_output([&]() -> Result<int> {
    const auto& out = task->out;
    if (out.is_folder || out.path.extension() != ".safetensors") {
      const auto files = write_shards(task->in, task->weights, task->metadata, ~std::uint64_t{0}, out.path);
      if (!files) return files.error();
    } else {
      for (const auto& what : rest_of(task->in)) task->left_out.push_back(what);
      if (auto done = tensors::write_safetensors(out.path.string(), task->weights, task->metadata); !done)
        return done.error();
    }
    return tell_written(call, *task, 1);
  });
}

Result<int> reshard_checkpoint(const Call& call, const std::string& path, const std::string& to) {
  auto max_bytes = Result<std::uint64_t>(tensors::kMaxShardSize);
  if (const auto given = call.args.text("max-shard-size")) {
    max_bytes = tensors::parse_shard_size(*given);
    if (!max_bytes) return fail(Errc::kInvalidArgument, "--max-shard-size " + max_bytes.error().message());
  }
  const auto task = task_of(path, to);
  if (!task) return task.error();
  return write_output([&]() -> Result<int> {
    const auto files = write_shards(task->in, task->weights, task->metadata, *max_bytes, task->out.path);
    if (!files) return files.error();
    return tell_written(call, *task, *files);
  });
}

}  // namespace rtrain::cli
