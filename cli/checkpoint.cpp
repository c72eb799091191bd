// rtrain checkpoint: looks into checkpoints, checks, compares and converts them.
#include "cli/checkpoint_actions.h"
#include "common/os/startup.h"
#include "proto/jobspec/jobspec.h"

#include <algorithm>

namespace rtrain::cli {
namespace {

Result<int> checkpoint(Call& call) {
  const auto& words = call.args.positionals;
  const std::string& action = words[0];
  const std::vector<std::string> known = {"inspect", "verify", "diff", "convert", "merge", "reshard"};
  if (std::ranges::find(known, action) == known.end()) {
    const auto near = proto::nearest(action, known);
    return fail(Errc::kInvalidArgument,
                "rtrain checkpoint: unknown action '" + action + "'" +
                    (near.empty() ? "" : "; did you mean " + near + "?"),
                "rtrain help checkpoint");
  }
  const bool two = action != "inspect" && action != "verify";
  if (words.size() != (two ? 3U : 2U))
    return fail(Errc::kInvalidArgument,
                "rtrain checkpoint " + action + " takes " + (two ? "two paths" : "one path"),
                "rtrain help checkpoint");
  for (const auto& [option, who] :
       {std::pair{"to", "convert"}, std::pair{"key", "convert"}, std::pair{"prefix-strip", "convert"},
        std::pair{"rtol", "diff"}, std::pair{"atol", "diff"}, std::pair{"checksums", "inspect"},
        std::pair{"max-shard-size", "reshard"}})
    if (call.args.has(option) && action != who)
      return fail(Errc::kInvalidArgument, "rtrain checkpoint " + action + " has no --" + option,
                  "rtrain help checkpoint");
  os::raise_file_limit();  // each file of a checkpoint stays open until it is copied
  if (action == "inspect") return inspect_checkpoint(call, words[1]);
  if (action == "verify") return verify_checkpoint(call, words[1]);
  if (action == "diff") return diff_checkpoints(call, words[1], words[2]);
  if (action == "merge") return merge_checkpoint(call, words[1], words[2]);
  if (action == "reshard") return reshard_checkpoint(call, words[1], words[2]);
  return convert_checkpoint(call, words[1], words[2]);
}

}  // namespace

Verb checkpoint_verb() {
  return {
      .name = "checkpoint",
      .usage = "inspect PATH | verify PATH | diff A B | convert IN OUT | merge IN OUT | reshard IN OUT",
      .summary = "look into checkpoints, check, compare and convert them",
      .description =
          "PATH is a checkpoint's folder, a reported checkpoint, a .safetensors file, a "
          "model.safetensors.index.json, or a .pt, .pth or .ckpt\n"
          "file of PyTorch or Lightning. inspect: tensors with shapes and sizes, step, epoch and "
          "hyperparameters. verify: whether the files are\n"
          "whole, against checksums.json where there is one; status 1 when not. diff: tensors that are "
          "missing or differ; status 1 when any does.\n"
          "convert: between files of torch.save and safetensors. A pickle is never executed: what is no "
          "plain value or tensor is refused by its\n"
          "name. merge: the weights of several files with an index as one. reshard: the weights as several "
          "files with an index, in Hugging Face's\n"
          "layout. Both copy what else a Trainer's checkpoint holds, if OUT is a folder. No LibTorch is "
          "needed.",
      .positionals_min = 2,
      .positionals_max = 3,
      .outputs = {"table", "json"},
      .needs_head = false,
      .options = {{"to", 0, "FORMAT", "convert: pt or safetensors (default: by the name of OUT)"},
                  {"key", 0, "KEY",
                   "convert: the dict of a .pt or .ckpt file that holds the weights: state_dict, ema.model"},
                  {"prefix-strip", 0, "PREFIX",
                   "convert: remove this from the beginning of the weights' names: model."},
                  {"rtol", 0, "X", "diff: numbers within X times the larger one are the same (default 0)"},
                  {"atol", 0, "X", "diff: numbers that are at most X apart are the same (default 0)"},
                  {"checksums", 0, "", "inspect: read all tensors and print the CRC-32C of each"},
                  {"max-shard-size", 0, "SIZE",
                   "reshard: the most bytes of tensors in a file: 200MB, 1000000 (default 5GB)"}},
      .examples = {{"rtrain checkpoint inspect results/run/checkpoint_000003", "what it holds"},
                   {"rtrain checkpoint diff old.ckpt new.ckpt --rtol 1e-5", "how far the weights went"},
                   {"rtrain checkpoint convert lightning.ckpt weights/", "safetensors and JSON"},
                   {"rtrain checkpoint reshard big.safetensors parts/ --max-shard-size 2GB",
                    "several files of one"}},
      .run = checkpoint};
}

}  // namespace rtrain::cli
