#include "proto/tensors/shard_index.h"

#include "common/os/open_file.h"
#include "proto/json.h"
#include "proto/tensors/trainer_folder.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <limits>
#include <set>
#include <utility>

namespace rtrain::tensors {
namespace {

constexpr std::size_t kIndexBytesMax = 64u << 20;

Error broken_index(const std::string& path, const std::string& why) {
  return fail(Errc::kIo, path + ": " + why);
}

}  // namespace

std::vector<std::string> ShardIndex::files() const {
  std::set<std::string> names;
  for (const auto& [tensor, file] : weight_map) names.insert(file);
  return {names.begin(), names.end()};
}

Result<ShardIndex> parse_shard_index(std::string_view text, const std::string& path) {
  auto json = proto::parse_json(text, {.bytes_max = kIndexBytesMax});
  if (!json) return broken_index(path, json.error().message());
  ShardIndex index;
  const auto map = json->is_object() ? json->find("weight_map") : json->end();
  if (map == json->end() || !map->is_object())
    return broken_index(path, "has no \"weight_map\" of tensors to files");
  for (const auto& [tensor, file] : map->items()) {
    const auto* name = file.get_ptr<const std::string*>();
    if (name == nullptr || name->empty() ||
        name->find_first_of(std::string_view("/\0", 2)) != std::string::npos || *name == "." || *name == "..")
      return broken_index(path, "the file of \"" + tensor + "\" is no name of a file beside the index");
    index.weight_map.emplace(tensor, *name);
  }
  return index;
}

std::string second_weights(const ShardIndex& index, bool has_model) {
  if (!has_model) return {};
  for (const auto& [tensor, file] : index.weight_map)
    if (file == kModelFile) return {};
  return std::string(kModelFile) +
         " is beside it, which it does not name: one of the two has the weights, remove the other";
}

Result<ShardIndex> read_shard_index(const std::string& path) {
  auto text = os::read_regular_file(path, kIndexBytesMax);
  if (!text) return text.error();
  return parse_shard_index(*text, path);
}

std::string ShardPlan::name(std::size_t file) const {
  if (files <= 1) return "model.safetensors";
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), "model-%05zu-of-%05zu.safetensors", file + 1, files);
  return text.data();
}

bool is_shard_name(std::string_view file) {
  constexpr std::string_view kEnd = ".safetensors", kOf = "-of-";
  if (!file.ends_with(kEnd)) return false;
  const auto stem = file.substr(0, file.size() - kEnd.size());
  const auto of = stem.rfind(kOf);
  if (of == std::string_view::npos) return false;
  const auto before = stem.substr(0, of);
  const auto dash = before.rfind('-');
  const auto is_number = [](std::string_view text) {
    return !text.empty() && std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
  };
  return dash != std::string_view::npos && is_number(before.substr(dash + 1)) &&
         is_number(stem.substr(of + kOf.size()));
}

ShardPlan plan_shards(const std::vector<std::uint64_t>& bytes, std::uint64_t max_bytes) {
  ShardPlan plan;
  std::uint64_t filled = 0;
  bool is_open = false;  // the latest file takes more
  for (const auto size : bytes) {
    if (!is_open || size > max_bytes || filled > max_bytes - size) {
      ++plan.files;
      filled = 0;
    }
    is_open = size <= max_bytes;
    filled += size;
    plan.file_of.push_back(plan.files - 1);
  }
  plan.files = std::max<std::size_t>(plan.files, 1);
  return plan;
}

std::string shard_index_text(const std::map<std::string, std::string>& weight_map,
                             std::uint64_t total_bytes) {
  proto::Json index{{"metadata", {{"total_size", total_bytes}}}, {"weight_map", weight_map}};
  return proto::dump_json_pretty(index) + "\n";
}

Result<std::uint64_t> parse_shard_size(std::string_view text) {
  static constexpr std::array<std::pair<std::string_view, std::uint64_t>, 5> kUnits{
      {{"", 1}, {"KB", 1'000}, {"MB", 1'000'000}, {"GB", 1'000'000'000}, {"TB", 1'000'000'000'000}}};
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const auto unit = text.substr(static_cast<std::size_t>(end - text.data()));
  const auto found = std::ranges::find(kUnits, unit, [](const auto& one) { return one.first; });
  if (error != std::errc() || found == kUnits.end() || number == 0 ||
      number > std::numeric_limits<std::uint64_t>::max() / found->second)
    return fail(Errc::kInvalidArgument,
                "'" + std::string(text) + "': must be a size above 0, such as 5GB, 200MB or 1000000");
  return number * found->second;
}

}  // namespace rtrain::tensors
