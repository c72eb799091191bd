// rtrain checkpoint verify: whether the files of a checkpoint are whole.
#include "cli/checkpoint_actions.h"
#include "cli/checkpoint_files.h"
#include "cli/text.h"
#include "proto/tensors/checksums.h"
#include "proto/tensors/safetensors_file.h"
#include "proto/tensors/zip_file.h"

#include <algorithm>
#include <filesystem>
#include <set>

namespace rtrain::cli {
namespace {

namespace fs = std::filesystem;

/// What was found, file by file.
struct Findings {
  std::map<std::string, std::vector<std::string>> problems;  ///< "": of the checkpoint as a whole
  std::map<std::string, std::string> sound;                  ///< how a file was checked

  void damaged(const std::string& file, const std::string& why) { problems[file].push_back(why); }
  void damaged(const std::string& file, const Error& error, const std::string& path) {
    // The file stands in a column of its own.
    auto why = error.message();
    if (why.starts_with(path + ": ")) why.erase(0, path.size() + 2);
    damaged(file, why);
  }
};

Result<Done> check_bools(const tensors::Tensor& tensor) {
  if (tensor.dtype->name != "BOOL") return ok();
  tensors::TensorReader reader(tensor);
  for (;;) {
    auto piece = reader.next();
    if (!piece) return piece.error();
    if (piece->empty()) return ok();
    if (std::ranges::any_of(*piece, [](char byte) { return byte != 0 && byte != 1; }))
      return fail(Errc::kIo, "tensor \"" + tensor.name + "\": a BOOL that is neither 0 nor 1");
  }
}

Result<Done> check_members(const std::string& path) {
  auto file = os::OpenFile::open(path);
  if (!file) return file.error();
  auto zip = tensors::ZipFile::open(*file);
  if (!zip) return zip.error();
  for (const auto& member : zip->members())
    if (auto done = zip->check(member); !done) return done;
  return ok();
}

void check_file(CheckpointFiles& checkpoint, const std::string& file, Findings& findings) {
  const auto path = checkpoint.file_path(file);
  const auto groups = checkpoint.groups.size();
  // Bytes first: a pickle that was changed by accident is no pickle that holds objects.
  const bool of_torch = checkpoint.kind == CheckpointKind::kTorch;
  if (of_torch)
    if (auto done = check_members(path); !done) return findings.damaged(file, done.error(), path);
  if (auto done = read_tensor_file(checkpoint, file); !done)
    return findings.damaged(file, done.error(), path);
  std::size_t count = 0;
  for (auto group = groups; group < checkpoint.groups.size(); ++group) {
    count += checkpoint.groups[group].tensors.size();
    for (auto& tensor : checkpoint.groups[group].tensors) {
      if (auto done = of_torch ? ok() : check_bools(tensor); !done)
        findings.damaged(file, done.error(), path);
      tensor.file.reset();  // a checkpoint may have more files than a process may have open
    }
  }
  findings.sound[file] = std::to_string(count) + " tensors" + (of_torch ? ", CRC-32 of the archive" : "");
}

/// A Trainer's folder: loop.json, and what it says must be there.
void check_loop(const CheckpointFiles& checkpoint, Findings& findings) {
  const auto plain = read_plain(checkpoint);
  const bool of_trainer = checkpoint.kind == CheckpointKind::kTrainer;
  const std::string file = of_trainer ? tensors::kLoopFile : kRestFile;
  if (!plain) return findings.damaged(file, plain.error(), checkpoint.file_path(file));
  if (plain->is_null()) return;
  findings.sound[file] = "JSON";
  const std::string optimizer = tensors::kOptimizerFile;
  if (of_trainer && plain->contains("progress") &&
      std::ranges::find(checkpoint.files, optimizer) == checkpoint.files.end())
    findings.damaged(optimizer, "is missing; loop.json is that of a run that can go on");
}

/// Each tensor is in the file that the index says, and no other file claims to be the weights.
void check_index(const CheckpointFiles& checkpoint, Findings& findings) {
  const auto& name = checkpoint.index;
  if (checkpoint.indexed.empty()) {
    const auto part = std::ranges::find_if(checkpoint.files, tensors::is_shard_name);
    if (checkpoint.is_folder && part != checkpoint.files.end())
      findings.damaged(name, "is missing, and " + *part + " is one of several files");
    return;
  }
  for (const auto& stray : checkpoint.strays)
    findings.damaged(stray, "is beside " + name + ", which does not name it: one of the two has the weights");
  const auto& weight_map = checkpoint.weight_map;
  findings.sound[name] = std::to_string(weight_map.size()) + " tensors";
  std::set<std::pair<std::string, std::string>> held;
  for (const auto& group : checkpoint.groups) {
    if (!group.weights) continue;
    for (const auto& tensor : group.tensors) {
      held.emplace(group.file, tensor.name);
      const auto found = weight_map.find(tensor.name);
      if (found == weight_map.end() || found->second != group.file)
        findings.damaged(group.file, "holds \"" + tensor.name + "\", which the index has not there");
    }
  }
  for (const auto& [tensor, file] : weight_map)
    if (!held.contains({file, tensor}) && !findings.problems.contains(file))
      findings.damaged(file, "lacks \"" + tensor + "\", which the index has there");
}

/// The checksums.json of a folder. @param shown before the names of its files
/// @param inner files below it were looked at already; "" none
/// @returns whether there is a checksums.json
bool check_sums(const fs::path& folder, const std::string& shown, const std::string& inner,
                Findings& findings) {
  const auto known = tensors::read_checksums(folder.string());
  if (!known && known.error().code() == Errc::kNotFound) return false;
  const auto list = shown + tensors::kChecksumsFile;
  if (!known) {
    findings.damaged(list, known.error(), (folder / tensors::kChecksumsFile).string());
    return true;
  }
  findings.sound[list] = std::to_string(known->files.size()) + " files";
  for (const auto& [file, expected] : known->files) {
    if (!inner.empty() && file.starts_with(inner + "/")) continue;
    const auto path = (folder / file).string();
    const auto found = tensors::checksum_of(path);
    if (!found) {
      findings.damaged(shown + file, found.error(), path);
    } else if (*found != expected) {
      findings.damaged(shown + file, tensors::difference_of(*found, expected));
    } else {
      auto& how = findings.sound[shown + file];
      how += (how.empty() ? "CRC-32C " : ", CRC-32C ") + tensors::crc_text(found->crc32c);
    }
  }
  return true;
}

/// Its own list, and that of the report around it.
bool check_sums(const CheckpointFiles& checkpoint, Findings& findings) {
  const bool own = checkpoint.is_folder && check_sums(checkpoint.path, "", "", findings);
  if (checkpoint.reported.empty()) return own;
  const auto inner = own ? fs::path(checkpoint.path).filename().string() : "";
  return check_sums(checkpoint.reported, "../", inner, findings) || own;
}

void print(const Call& call, const CheckpointFiles& checkpoint, const Findings& findings, bool with_sums) {
  std::set<std::string> files;
  for (const auto& [file, how] : findings.sound) files.insert(file);
  for (const auto& [file, problems] : findings.problems) files.insert(file);
  if (call.json()) {
    auto list = proto::Json::array();
    for (const auto& file : files) {
      const auto found = findings.problems.find(file);
      list.push_back(
          {{"file", file},
           {"status", found == findings.problems.end() ? "ok" : "damaged"},
           {"problems", found == findings.problems.end() ? std::vector<std::string>() : found->second}});
    }
    call.console.out(proto::dump_json({{"path", checkpoint.path},
                                       {"status", findings.problems.empty() ? "ok" : "damaged"},
                                       {"checksums", with_sums ? proto::Json("crc32c") : proto::Json()},
                                       {"files", std::move(list)}}) +
                     "\n");
    return;
  }
  Table table({"STATUS", "FILE", "WHAT"});
  for (const auto& file : files) {
    const auto found = findings.problems.find(file);
    if (found == findings.problems.end())
      table.add({Cell("ok", Style::kGreen), file, findings.sound.at(file)});
    else
      for (const auto& why : found->second) table.add({Cell("damaged", Style::kRed), file, why});
  }
  call.console.print(table);
  if (!with_sums && (checkpoint.is_folder || !checkpoint.reported.empty()))
    call.console.note("there is no checksums.json: numbers that were changed are not seen");
}

}  // namespace

Result<Done> require_whole(const CheckpointFiles& checkpoint) {
  Findings findings;
  check_index(checkpoint, findings);
  (void)check_sums(checkpoint, findings);
  if (findings.problems.empty()) return ok();
  const auto& [file, problems] = *findings.problems.begin();
  return fail(Errc::kIo, checkpoint.file_path(file) + ": " + problems.front(),
              "`rtrain checkpoint verify` shows all that is damaged");
}

Result<int> verify_checkpoint(const Call& call, const std::string& path) {
  auto checkpoint = find_checkpoint(path);
  if (!checkpoint) return checkpoint.error();
  Findings findings;
  for (const auto& file : checkpoint->files) check_file(*checkpoint, file, findings);
  check_loop(*checkpoint, findings);
  check_index(*checkpoint, findings);
  const bool with_sums = check_sums(*checkpoint, findings);
  print(call, *checkpoint, findings, with_sums);
  return findings.problems.empty() ? 0 : 1;
}

}  // namespace rtrain::cli
