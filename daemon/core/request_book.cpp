#include "daemon/core/request_book.h"

#include <algorithm>
#include <cctype>
#include <cmath>

namespace rtrain::core {
namespace {

/// The bytes of plain values one after the other, for a key.
class Key {
 public:
  template <class Value>
  Key& add(Value value)
    requires std::is_trivially_copyable_v<Value>
  {
    text.append(reinterpret_cast<const char*>(&value), sizeof value);
    return *this;
  }
  Key& add(const std::string& value) {
    add(value.size());
    text += value;
    return *this;
  }
  std::string text;
};

std::string lower(std::string text) {
  std::ranges::transform(text, text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

std::string need_key(const proto::ScalingConfig& scaling, const proto::Resources& resources,
                     int reservation) {
  Key key;
  key.add(reservation).add(lower(scaling.accelerator_type)).add(resources.size());
  for (const auto& [name, amount] : resources) key.add(name).add(amount);
  for (const auto& [label, match] : scaling.label_selector) {
    key.add(label).add(match.negated).add(match.values.size());
    for (const auto& value : match.values) key.add(value);
  }
  return key.text;
}

}  // namespace

int RequestBook::reservation(const std::string& name) {
  const auto [found, is_new] = reservation_numbers_.try_emplace(name, static_cast<int>(reservations_.size()));
  if (is_new) reservations_.push_back(name);
  return found->second;
}

int RequestBook::ask_of(const proto::ScalingConfig& scaling, const proto::SchedulingConfig& scheduling,
                        proto::UnixMs limit_ms) {
  const auto resources = scaling.resources();
  const int reserved = scheduling.reservation.empty() ? -1 : reservation(scheduling.reservation);
  const auto [need, is_new_need] = need_numbers_.try_emplace(need_key(scaling, resources, reserved), needs());
  if (is_new_need)
    needs_.push_back({amounts_of(resources, resources_), resources, lower(scaling.accelerator_type),
                      scaling.label_selector, reserved});

  Key key;
  key.add(need->second)
      .add(scaling.num_workers)
      .add(scaling.least_workers())
      .add(scaling.placement_strategy)
      .add(limit_ms);
  if (scheduling.topology) key.add(scheduling.topology->level).add(scheduling.topology->mode);
  const auto [ask, is_new] = ask_numbers_.try_emplace(key.text, static_cast<int>(asks_.size()));
  if (is_new)
    asks_.push_back({need->second, scaling.num_workers, scaling.least_workers(), scaling.placement_strategy,
                     scheduling.topology, limit_ms});
  return ask->second;
}

bool is_accelerator(const std::string& product, const std::string& wanted) {
  const auto name = lower(product), want = lower(wanted);
  static const std::string kMaker = "nvidia ";
  if (want == name || (name.starts_with(kMaker) && want == name.substr(kMaker.size()))) return true;
  // The family is the first word with a digit in it: "Tesla V100-SXM2-16GB", "NVIDIA L40S", "NVIDIA GeForce
  // RTX 4090".
  std::string word;
  for (const char c : name + " ") {
    if (c != ' ' && c != '-') {
      word += c;
      continue;
    }
    if (std::ranges::any_of(word, [](unsigned char d) { return std::isdigit(d) != 0; })) return want == word;
    word.clear();
  }
  return false;
}

}  // namespace rtrain::core
