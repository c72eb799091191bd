#include "proto/tensors/pickle_check.h"

#include "common/base/clip.h"
#include "proto/tensors/pickle_names.h"

#include <algorithm>
#include <unordered_set>

namespace rtrain::tensors {
namespace {

void check_keys(const Pickle& pickle, const Value& dict) {
  std::unordered_set<std::string_view> texts;
  std::unordered_set<std::int64_t> numbers;
  for (std::size_t i = 0; i < dict.items.size(); i += 2) {
    const auto& key = pickle.at(dict.items[i]);
    bool is_new = true;
    switch (key.kind) {
      case ValueKind::kText: is_new = texts.insert(key.text).second; break;
      case ValueKind::kInt: is_new = numbers.insert(key.integer).second; break;
      case ValueKind::kNone:
      case ValueKind::kBool:
      case ValueKind::kFloat:
      case ValueKind::kBytes:
      case ValueKind::kBigInt:
      case ValueKind::kTuple: break;
      default: refuse_pickle("the pickle has a dict with a key that is no text, number or tuple");
    }
    if (!is_new)
      refuse_pickle("the pickle has a dict with two values of one key, " +
                    (key.kind == ValueKind::kText ? "\"" + clipped(key.text, 100) + "\""
                                                  : std::to_string(key.integer)));
  }
}

/// Depth first, with the path from the root as a stack of its own.
class Walk {
 public:
  explicit Walk(const Pickle& pickle)
      : pickle_(pickle), depth_(pickle.values.size()), unfolded_(pickle.values.size()) {}

  void run() {
    enter(pickle_.root);
    while (!path_.empty()) {
      auto& [index, next] = path_.back();
      const auto& items = pickle_.at(index).items;
      if (next == items.size()) {
        leave();
        continue;
      }
      const auto item = items[next++];
      if (depth_[item] == kOpen) refuse_pickle("the pickle has a value that holds itself");
      if (depth_[item] == kUnseen)
        enter(item);
      else
        count(path_.back().index, item);
    }
  }

 private:
  static constexpr std::uint32_t kUnseen = 0, kOpen = UINT32_MAX;
  struct Step {
    std::uint32_t index;
    std::size_t next;
  };

  void enter(std::uint32_t index) {
    const auto& value = pickle_.at(index);
    if (value.kind == ValueKind::kName) refuse_pickle("the pickle has a class or a function as a value");
    if (value.kind == ValueKind::kStorage) refuse_pickle("the pickle has the storage of a tensor as a value");
    if (value.kind == ValueKind::kDict) check_keys(pickle_, value);
    depth_[index] = kOpen;
    const bool holds_items = value.kind == ValueKind::kList || value.kind == ValueKind::kTuple ||
                             value.kind == ValueKind::kSet || value.kind == ValueKind::kDict;
    deepest_.push_back(holds_items ? 1 : 0);  // an empty one is a level, too
    unfolded_[index] = 1;
    path_.push_back({index, 0});
  }

  void leave() {
    const auto index = path_.back().index;
    depth_[index] = deepest_.back() + 1;
    if (depth_[index] > kPickleDepthMax + 1)
      refuse_pickle("the pickle is nested deeper than " + std::to_string(kPickleDepthMax) + " levels");
    deepest_.pop_back();
    path_.pop_back();
    if (!path_.empty()) count(path_.back().index, index);
  }

  void count(std::uint32_t holder, std::uint32_t item) {
    deepest_.back() = std::max(deepest_.back(), depth_[item]);
    unfolded_[holder] += unfolded_[item];
    if (unfolded_[holder] > kPickleValuesMax)
      refuse_pickle("the pickle unfolds to more than " + std::to_string(kPickleValuesMax) + " values");
  }

  const Pickle& pickle_;
  std::vector<std::uint32_t> depth_;     // of each value: 1 of a number
  std::vector<std::uint64_t> unfolded_;  // how many values it is when nothing is shared
  std::vector<Step> path_;
  std::vector<std::uint32_t> deepest_;  // among the items seen so far, of each step of the path
};

}  // namespace

void check_pickle(const Pickle& pickle) { Walk(pickle).run(); }

}  // namespace rtrain::tensors
