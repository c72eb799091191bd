#include "proto/tensors/safetensors_header.h"

#include "proto/json.h"
#include "proto/tensors/little_endian.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <limits>
#include <set>
#include <stdexcept>
#include <utility>

namespace rtrain::tensors {
namespace {

using nlohmann::json;
constexpr int kHeaderDepthMax = 4;  // {"name": {"shape": [..]}} has 3

[[noreturn]] void fail(const std::string& why) { throw std::runtime_error(why); }

/// What a header quotes in an error.
std::string shown(const json& value) {
  std::string text = value.dump(-1, ' ', true, json::error_handler_t::replace);
  if (text.size() > 100) text.replace(100, std::string::npos, "...");
  return text;
}

/// Says of a header that is refused which name comes twice, or that it is nested too deeply.
class Check final : public nlohmann::json_sax<json> {
 public:
  bool null() override { return value(); }
  bool boolean(bool) override { return value(); }
  bool number_integer(number_integer_t) override { return value(); }
  bool number_unsigned(number_unsigned_t) override { return value(); }
  bool number_float(number_float_t, const string_t&) override { return value(); }
  bool string(string_t&) override { return value(); }
  bool binary(binary_t&) override { return value(); }
  bool start_object(std::size_t) override { return seen_.emplace_back(), start(); }
  bool key(string_t& name) override {
    if (!seen_.back().insert(name).second) fail(shown(json(name)) + " twice");
    return value();
  }
  bool end_object() override { return seen_.pop_back(), end(); }
  bool start_array(std::size_t) override { return start(); }
  bool end_array() override { return end(); }
  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception&) override {
    return false;
  }

 private:
  bool value() const {
    if (depth_ > kHeaderDepthMax) fail("nested too deeply");
    return true;
  }
  bool start() {
    (void)value();
    ++depth_;
    return true;
  }
  bool end() { return --depth_, true; }

  int depth_ = 0;
  std::vector<std::set<std::string>> seen_;
};

json parse(std::string_view text) {
  if (text.empty() || text.front() != '{') fail("broken header: expected a JSON object");
  auto read = proto::parse_json(text, {.bytes_max = text.size(), .depth_max = kHeaderDepthMax});
  if (read) return std::move(*read);
  try {
    Check check;
    (void)json::sax_parse(text, &check);
  } catch (const std::runtime_error& e) {
    fail(std::string("broken header: ") + e.what());
  }
  fail("broken header: " + read.error().message());
}

std::uint64_t read_unsigned(const std::string& tensor, const json& value) {
  if (!value.is_number_unsigned())
    fail(tensor + ": expected a whole number of 0 or more, found " + shown(value));
  return value.get<std::uint64_t>();
}

StoredTensor describe(const std::string& name, const json& entry) {
  const std::string tensor = "tensor " + shown(name);
  const auto broken = [&](const std::string& why) { fail(tensor + ": " + why); };
  if (!entry.is_object() || entry.size() != 3 || !entry.contains("dtype") || !entry.contains("shape") ||
      !entry.contains("data_offsets"))
    broken("expected an object of dtype, shape and data_offsets");
  const auto& dtype_name = entry["dtype"];
  const auto& shape = entry["shape"];
  const auto& offsets = entry["data_offsets"];
  const auto* dtype = dtype_name.is_string() ? find_dtype(dtype_name.get_ref<const std::string&>()) : nullptr;
  if (dtype == nullptr) broken("unknown dtype " + shown(dtype_name));
  if (!shape.is_array()) broken("shape is not an array");
  if (!offsets.is_array() || offsets.size() != 2) broken("data_offsets is not a pair");

  StoredTensor described{
      name, dtype, {}, read_unsigned(tensor, offsets[0]), read_unsigned(tensor, offsets[1])};
  constexpr auto kMax = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  std::uint64_t bytes = dtype->bytes;
  bool empty = false;
  for (const auto& size : shape) {
    const auto n = read_unsigned(tensor, size);
    if (n > kMax || (n > 0 && bytes > kMax / n)) broken("the shape is too large");
    if (n == 0) empty = true;
    bytes *= std::max<std::uint64_t>(n, 1);  // so that sizes beside a zero cannot overflow unseen either
    described.shape.push_back(static_cast<std::int64_t>(n));
  }
  if (empty) bytes = 0;
  if (described.end < described.begin || described.end - described.begin != bytes)
    broken("data_offsets " + shown(offsets) + " do not fit dtype and shape (" + std::to_string(bytes) +
           " bytes)");
  return described;
}

}  // namespace

SafetensorsHeader parse_safetensors_header(std::string_view text, std::uint64_t data_bytes) {
  const auto header = parse(text);
  SafetensorsHeader result;
  for (const auto& [name, entry] : header.items()) {
    if (name != kSafetensorsMetadata) {
      result.tensors.push_back(describe(name, entry));
      continue;
    }
    if (!entry.is_object()) fail("__metadata__ is not an object");
    for (const auto& [key, value] : entry.items()) {
      if (!value.is_string()) fail("__metadata__: " + shown(key) + " is not a string");
      result.metadata.emplace(key, value.get<std::string>());
    }
  }
  std::ranges::sort(result.tensors, {},
                    [](const StoredTensor& tensor) { return std::pair(tensor.begin, tensor.end); });
  std::uint64_t covered = 0;
  for (const auto& tensor : result.tensors) {
    if (tensor.begin != covered)
      fail("tensor " + shown(tensor.name) + " begins at byte " + std::to_string(tensor.begin) +
           " of the data, expected " + std::to_string(covered) +
           (tensor.begin < covered ? " (it overlaps the one before)" : " (a hole)"));
    covered = tensor.end;
  }
  if (covered != data_bytes)
    fail("the tensors take " + std::to_string(covered) + " bytes, the file has " +
         std::to_string(data_bytes) + (covered > data_bytes ? " (it ends too early)" : ""));
  return result;
}

std::string safetensors_head(const SafetensorsHeader& header) {
  auto entries = json::object();
  if (!header.metadata.empty()) entries[kSafetensorsMetadata] = header.metadata;
  for (const auto& tensor : header.tensors) {
    if (tensor.name == kSafetensorsMetadata) fail("a tensor cannot be named __metadata__");
    if (entries.contains(tensor.name)) fail("two tensors are named " + shown(tensor.name));
    entries[tensor.name] = {
        {"dtype", tensor.dtype->name}, {"shape", tensor.shape}, {"data_offsets", {tensor.begin, tensor.end}}};
  }
  std::string text;
  try {
    text = entries.dump();
  } catch (const json::exception&) {
    fail("a tensor's name or the metadata is not valid UTF-8");
  }
  text.resize((text.size() + 7) / 8 * 8, ' ');
  if (text.size() > kSafetensorsHeaderBytesMax)
    fail("the header would be " + std::to_string(text.size()) + " bytes; the format allows 100,000,000");
  std::string head;
  put_number<std::uint64_t>(head, text.size());
  return head + text;
}

}  // namespace rtrain::tensors
