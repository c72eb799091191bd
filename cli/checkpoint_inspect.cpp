// rtrain checkpoint inspect: what a checkpoint holds.
#include "cli/checkpoint_actions.h"
#include "cli/checkpoint_files.h"
#include "cli/text.h"
#include "common/base/crc32c.h"
#include "proto/tensors/checksums.h"

#include <filesystem>

namespace rtrain::cli {
namespace {

using proto::Json;

constexpr std::size_t kValueColumns = 100;

Result<std::string> crc_of(const tensors::Tensor& tensor) {
  Crc32c crc;
  tensors::TensorReader reader(tensor);
  for (;;) {
    auto piece = reader.next();
    if (!piece) return piece.error();
    if (piece->empty()) return tensors::crc_text(crc.value());
    crc.add(*piece);
  }
}

/// Of the same name in a Trainer's loop.json and in a checkpoint of Lightning.
Json fact(const Json& plain, const char* key) {
  return plain.is_object() ? plain.value(key, Json()) : Json();
}

Result<Json> groups_of(const CheckpointFiles& checkpoint, bool with_crc) {
  Json groups = Json::array();
  for (const auto& group : checkpoint.groups) {
    Json list = Json::array();
    if (with_crc)
      if (auto bounded = tensors::check_cost(group.tensors); !bounded) return bounded.error();
    for (const auto& tensor : group.tensors) {
      Json entry{{"name", tensor.name},
                 {"dtype", tensor.dtype->name},
                 {"shape", tensor.shape},
                 {"bytes", tensor.bytes()}};
      if (with_crc) {
        auto crc = crc_of(tensor);
        if (!crc) return crc.error();
        entry["crc32c"] = *crc;
      }
      list.push_back(std::move(entry));
    }
    groups.push_back({{"file", group.file},
                      {"weights", group.weights},
                      {"metadata", group.metadata},
                      {"tensors", std::move(list)}});
  }
  return groups;
}

Result<Json> files_of(const CheckpointFiles& checkpoint) {
  Json files = Json::array();
  tensors::Checksums known;
  if (checkpoint.is_folder) {
    auto read = tensors::read_checksums(checkpoint.path);
    if (read)
      known = std::move(*read);
    else if (read.error().code() != Errc::kNotFound)
      return read.error();
  }
  if (checkpoint.kind == CheckpointKind::kFiles)
    for (const auto& [file, sum] : known.files)
      files.push_back({{"file", file}, {"bytes", sum.bytes}, {"crc32c", tensors::crc_text(sum.crc32c)}});
  for (const auto& file : checkpoint.files) {
    std::error_code ignored;
    Json entry{{"file", file}, {"bytes", std::filesystem::file_size(checkpoint.file_path(file), ignored)}};
    if (const auto found = known.files.find(file); found != known.files.end())
      entry["crc32c"] = tensors::crc_text(found->second.crc32c);
    files.push_back(std::move(entry));
  }
  return files;
}

Json texts_of(const Json& list, const char* key) {
  Json texts = Json::array();
  if (list.is_array())
    for (const auto& item : list)
      if (const auto text = fact(item, key); text.is_string()) texts.push_back(text);
  return texts;
}

/// {"type", "groups", "lr", "schedulers"} of each optimizer. Lightning writes no type; of a Trainer's
/// checkpoint before version 3 there is no list.
Json optimizers_of(const Json& plain) {
  Json optimizers = Json::array();
  const auto add = [&](const Json& optimizer, const char* groups_key) {
    const auto groups = fact(optimizer, groups_key);
    Json rates = Json::array();
    if (groups.is_array())
      for (const auto& group : groups) rates.push_back(fact(group, "lr"));
    optimizers.push_back({{"type", fact(optimizer, "type")},
                          {"groups", groups.is_array() ? groups.size() : 0},
                          {"lr", std::move(rates)},
                          {"schedulers", texts_of(fact(optimizer, "schedulers"), "type")}});
  };
  for (const auto& [list, groups_key] :
       {std::pair{"optimizers", "groups"}, std::pair{"optimizer_states", "param_groups"}})
    if (const auto found = fact(plain, list); found.is_array())
      for (const auto& optimizer : found) add(optimizer, groups_key);
  return optimizers;
}

/// A value on one line; containers of containers are trees of their own.
std::string one_line(const Json& value) {
  auto text = value.is_string() ? value.get<std::string>() : proto::dump_json(value);
  return fit(printable(text, false), kValueColumns);
}

bool is_flat(const Json& value) {
  for (const auto& item : value)
    if (item.is_structured() && !item.empty()) return false;
  return true;
}

void print_tree(std::string& out, const Json& value, int depth) {
  const std::string indent(static_cast<std::size_t>(depth) * 2, ' ');
  const auto line = [&](const std::string& key, const Json& item) {
    const bool inner = item.is_structured() && !(item.is_array() && is_flat(item)) && !item.empty() &&
                       !item.contains("$tensor") && !item.contains("$bytes");
    out += indent + printable(key, false) + (inner ? "" : "  " + one_line(item)) + "\n";
    if (inner) print_tree(out, item, depth + 1);
  };
  if (value.is_object())
    for (const auto& [key, item] : value.items()) line(key, item);
  else if (value.is_array())
    for (std::size_t i = 0; i < value.size(); ++i) line(std::to_string(i), value[i]);
}

/// The few lines that are looked for first.
std::string head_lines(const CheckpointFiles& checkpoint, const Json& doc) {
  std::vector<std::pair<std::string, std::string>> lines{{"path", checkpoint.path},
                                                         {"kind", std::string(to_string(checkpoint.kind))}};
  const std::pair<const char*, const char*> facts[] = {{"version", "version"},
                                                       {"lightning", "pytorch-lightning_version"},
                                                       {"epoch", "epoch"},
                                                       {"step", "global_step"},
                                                       {"world size", "world_size"}};
  for (const auto& [label, key] : facts)
    if (const auto value = fact(checkpoint.plain, key); !value.is_null())
      lines.emplace_back(label, one_line(value));
  for (const auto& optimizer : doc["optimizers"]) {
    std::string rates, schedulers;
    for (const auto& lr : optimizer["lr"]) rates += (rates.empty() ? "lr " : ", ") + one_line(lr);
    for (const auto& type : optimizer["schedulers"]) schedulers += ", " + type.get<std::string>();
    const auto groups = optimizer["groups"].get<std::size_t>();
    const auto& type = optimizer["type"];
    auto text = (type.is_string() ? type.get<std::string>() : "of unknown type") + ", " +
                std::to_string(groups) + (groups == 1 ? " group" : " groups");
    if (!rates.empty()) text += " with " + rates;
    lines.emplace_back("optimizer", fit(printable(text + schedulers, false), kValueColumns));
  }
  std::uint64_t count = 0, elements = 0, size = 0;
  for (const auto& tensor : checkpoint.weights())
    ++count, elements += tensor.elements(), size += tensor.bytes();
  lines.emplace_back("weights", std::to_string(count) + " tensors, " + std::to_string(elements) +
                                    " numbers, " + bytes(static_cast<double>(size)));
  std::string sums;
  for (const auto& file : doc["files"])
    if (file.contains("crc32c"))
      sums += (sums.empty() ? "" : ", ") + file["file"].get<std::string>() + " " +
              file["crc32c"].get<std::string>();
  if (!sums.empty()) lines.emplace_back("crc32c", sums);
  std::string out;
  for (const auto& [key, value] : lines)
    out += key + std::string(12 - key.size(), ' ') + printable(value, false) + "\n";
  return out;
}

void print(const Call& call, const CheckpointFiles& checkpoint, const Json& doc) {
  call.console.out(head_lines(checkpoint, doc));
  if (!checkpoint.plain.empty()) {
    std::string tree;
    print_tree(tree, checkpoint.plain, 1);
    call.console.out("\nbeside the tensors\n" + tree);
  }
  for (const auto& group : doc["groups"]) {
    const bool with_crc = call.args.has("checksums");
    std::vector<std::string> headers{"TENSOR", "DTYPE", "SHAPE", ">BYTES"};
    if (with_crc) headers.emplace_back("CRC32C");
    Table table(headers);
    for (const auto& tensor : group["tensors"]) {
      std::vector<Cell> row{tensor["name"].get<std::string>(), tensor["dtype"].get<std::string>(),
                            tensors::shape_text(tensor["shape"].get<std::vector<std::int64_t>>()),
                            std::to_string(tensor["bytes"].get<std::uint64_t>())};
      if (with_crc) row.emplace_back(tensor["crc32c"].get<std::string>());
      table.add(std::move(row));
    }
    call.console.out("\n" + printable(group["file"].get<std::string>(), false) +
                     (group["weights"].get<bool>() ? "" : " (not weights)") + "\n");
    if (!table.empty()) call.console.print(table);
  }
}

}  // namespace

Result<int> inspect_checkpoint(const Call& call, const std::string& path) {
  auto checkpoint = open_checkpoint(path);
  if (!checkpoint) return checkpoint.error();
  auto groups = groups_of(*checkpoint, call.args.has("checksums"));
  if (!groups) return groups.error();
  auto files = files_of(*checkpoint);
  if (!files) return files.error();
  const auto& plain = checkpoint->plain;
  auto hparams = fact(plain, "hyper_parameters");
  const Json doc{{"path", checkpoint->path},
                 {"kind", to_string(checkpoint->kind)},
                 {"version", fact(plain, "version")},
                 {"lightning_version", fact(plain, "pytorch-lightning_version")},
                 {"epoch", fact(plain, "epoch")},
                 {"global_step", fact(plain, "global_step")},
                 {"hyper_parameters", std::move(hparams)},
                 {"optimizers", optimizers_of(plain)},
                 {"files", std::move(*files)},
                 {"groups", std::move(*groups)},
                 {"plain", plain}};
  call.json() ? call.console.out(proto::dump_json(doc) + "\n") : print(call, *checkpoint, doc);
  return 0;
}

}  // namespace rtrain::cli
