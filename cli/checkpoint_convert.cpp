// rtrain checkpoint convert: between files of torch.save and safetensors.
#include "cli/checkpoint_actions.h"
#include "cli/checkpoint_files.h"
#include "cli/checkpoint_output.h"
#include "cli/text.h"
#include "common/os/file.h"
#include "proto/tensors/checksums.h"
#include "proto/tensors/safetensors_file.h"
#include "proto/tensors/torch_file.h"

#include <algorithm>
#include <filesystem>
#include <set>

namespace rtrain::cli {
namespace {

namespace fs = std::filesystem;

enum class Target { kTorch, kSafetensorsFile, kFolder };

/// @param is_folder OUT ends in "/", or is an empty folder
Result<Target> target_of(const Call& call, const CheckpointFiles& in, const fs::path& out, bool is_folder) {
  const auto extension = out.extension().string();
  const bool names_torch =
      extension == ".pt" || extension == ".pth" || extension == ".ckpt" || extension == ".bin";
  const auto to = call.args.text("to");
  if (to && *to != "pt" && *to != "safetensors")
    return fail(Errc::kInvalidArgument, "--to '" + *to + "': must be pt or safetensors");
  if (is_folder && to && *to == "pt")
    return fail(Errc::kInvalidArgument, "--to pt makes a file, and " + out.string() + "/ is a folder");
  if (is_folder) return Target::kFolder;
  if (to ? *to == "pt" : names_torch) return Target::kTorch;
  if (extension == ".safetensors") return Target::kSafetensorsFile;
  if (in.kind == CheckpointKind::kTorch || in.kind == CheckpointKind::kSharded) return Target::kFolder;
  if (to) return fail(Errc::kInvalidArgument, in.path + ": is made of safetensors already");
  return fail(Errc::kInvalidArgument, "what to make of " + out.string() + " is not said",
              "--to pt, or a name that ends in .pt, .safetensors or /");
}

/// --prefix-strip: the weights under their new names. @returns how many names had the prefix
Result<std::size_t> strip_prefix(std::vector<tensors::Tensor>& weights, const std::string& prefix) {
  std::size_t stripped = 0;
  std::map<std::string, std::string> before;  // by the new name
  for (auto& tensor : weights) {
    const auto name = tensor.name;
    if (name.starts_with(prefix)) {
      tensor.name.erase(0, prefix.size());
      ++stripped;
    }
    if (tensor.name.empty())
      return fail(Errc::kInvalidArgument, "--prefix-strip: of tensor \"" + name + "\" no name would be left");
    if (const auto [other, is_new] = before.emplace(tensor.name, name); !is_new)
      return fail(Errc::kInvalidArgument, "--prefix-strip: tensors \"" + other->second + "\" and \"" + name +
                                              "\" would both be \"" + tensor.name + "\"");
  }
  if (stripped > 0) return stripped;
  return fail(Errc::kInvalidArgument, "--prefix-strip: no name of the weights begins with \"" + prefix + "\"",
              "`rtrain checkpoint inspect` shows the names");
}

/// Whether what a file of PyTorch holds beside its weights is written, too.
bool keeps_rest(const CheckpointFiles& in, Target target) {
  return target == Target::kFolder && in.kind == CheckpointKind::kTorch;
}

/// What would be found out only when half is written.
Result<Done> check_tensors(const CheckpointFiles& in, Target target) {
  for (const auto& group : in.groups) {
    if (!group.weights && !keeps_rest(in, target)) continue;
    if (auto bounded = tensors::check_cost(group.tensors); !bounded) return bounded;
    for (const auto& tensor : group.tensors)
      if (!tensor.dtype->in_safetensors && target != Target::kTorch)
        return fail(Errc::kIo,
                    in.path + ": tensor \"" + tensor.name + "\" is " + std::string(tensor.dtype->torch) +
                        ", which safetensors cannot hold",
                    "in Python, keep its real view (torch.view_as_real)");
  }
  return ok();
}

/// How many tensors lie in a storage that another one has, too.
std::size_t shared_among(const std::vector<tensors::Tensor>& weights) {
  std::map<std::pair<const void*, std::uint64_t>, std::size_t> users;
  for (const auto& tensor : weights)
    if (tensor.storage_bytes > 0) ++users[{tensor.file.get(), tensor.storage}];
  std::size_t shared = 0;
  for (const auto& [storage, count] : users)
    if (count > 1) shared += count;
  return shared;
}

struct Written {
  std::vector<std::string> files;
  std::vector<std::string> left_out;  ///< what stays in IN alone
};

Result<Written> write_folder(const CheckpointFiles& in, const std::vector<tensors::Tensor>& weights,
                             const fs::path& out) {
  Written written{{kModelFile}, {}};
  const bool with_rest = keeps_rest(in, Target::kFolder);
  if (!with_rest) written.left_out = rest_of(in);
  const auto fill = [&](const fs::path& partial) -> Result<Done> {
    const std::map<std::string, std::string> metadata{{"format", "pt"}};
    if (auto done = tensors::write_safetensors((partial / kModelFile).string(), weights, metadata); !done)
      return done;
    if (!with_rest) return ok();
    for (const auto& group : in.groups) {
      if (group.weights) continue;
      const auto path = (partial / kRestTensorsFile).string();
      if (auto done = tensors::write_safetensors(path, group.tensors, metadata); !done) return done;
      written.files.emplace_back(kRestTensorsFile);
    }
    if (in.plain.empty()) return ok();
    written.files.emplace_back(kRestFile);
    return os::write_file_atomic((partial / kRestFile).string(), proto::dump_json_pretty(in.plain) + "\n");
  };
  if (auto done = write_checkpoint_folder(out, fill); !done) return done.error();
  written.files.emplace_back(tensors::kChecksumsFile);
  return written;
}

Result<Written> write_file(const CheckpointFiles& in, const std::vector<tensors::Tensor>& weights,
                           Target target, const fs::path& out) {
  auto done = target == Target::kTorch
                  ? tensors::write_torch_file(out.string(), weights)
                  : tensors::write_safetensors(out.string(), weights, {{"format", "pt"}});
  if (!done) return done.error();
  return Written{{out.filename().string()}, rest_of(in)};
}

/// What was written on stdout, and on stderr what is not in OUT as it was in IN.
/// @param stripped how many names had the prefix of --prefix-strip; 0 there was none
void tell(const Call& call, const CheckpointFiles& in, const std::vector<tensors::Tensor>& weights,
          const Written& written, Target target, const fs::path& out, std::size_t stripped) {
  const auto shared = shared_among(weights);
  if (call.json()) {
    call.console.out(proto::dump_json({{"path", out.string()},
                                       {"files", written.files},
                                       {"tensors", weights.size()},
                                       {"shared", shared},
                                       {"not_plain", in.unplain},
                                       {"not_written", written.left_out}}) +
                     "\n");
    return;
  }
  if (shared > 0)
    call.console.note(std::to_string(shared) + " tensors share storages; each is written by itself");
  if (keeps_rest(in, target)) {
    for (const auto& path : in.unplain)
      call.console.note(std::string(kRestFile) + ": " + printable(path, false));
    if (in.unplain_more > 0) call.console.note("and " + std::to_string(in.unplain_more) + " more");
  }
  for (const auto& what : written.left_out) call.console.note("not written: " + printable(what, false));
  if (stripped > 0 && stripped < weights.size())
    call.console.note("--prefix-strip: " + std::to_string(weights.size() - stripped) +
                      " names did not have the prefix and are as they were");
  call.console.out(out.string() + ": " + std::to_string(weights.size()) + " tensors\n");
}

}  // namespace

Result<int> convert_checkpoint(const Call& call, const std::string& path, const std::string& to) {
  auto in = open_checkpoint(path, call.args.text("key").value_or(""));
  if (!in) return in.error();
  const auto place = output_path(to);
  const auto& out = place.path;
  const auto target = target_of(call, *in, out, place.is_folder);
  if (!target) return target.error();
  if (auto free = require_free(place); !free) return free.error();
  if (auto whole = require_whole(*in); !whole) return whole.error();
  auto weights = in->weights();
  std::size_t stripped = 0;
  if (weights.empty())
    return fail(Errc::kIo, in->path + ": holds no weights",
                "tensors are looked for in state_dict, model_state_dict, model and the root");
  if (const auto prefix = call.args.text("prefix-strip")) {
    const auto done = strip_prefix(weights, *prefix);
    if (!done) return done.error();
    stripped = *done;
  }
  if (auto possible = check_tensors(*in, *target); !possible) return possible.error();
  return write_output([&]() -> Result<int> {
    auto written =
        *target == Target::kFolder ? write_folder(*in, weights, out) : write_file(*in, weights, *target, out);
    if (!written) return written.error();
    tell(call, *in, weights, *written, *target, out, stripped);
    return 0;
  });
}

}  // namespace rtrain::cli
