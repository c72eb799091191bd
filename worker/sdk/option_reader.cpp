#include <rtrain/option_reader.h>

#include "proto/jobspec/jobspec.h"

#include <algorithm>
#include <stdexcept>
#include <string_view>

namespace rtrain {

OptionReader::OptionReader(std::string type, nlohmann::json options)
    : type_(std::move(type)), options_(std::move(options)) {
  if (options_.is_null()) options_ = nlohmann::json::object();
  if (!options_.is_object()) {
    const std::string found = options_.type_name();
    problems_.push_back("expected an object of options, found " + found);
    options_ = nlohmann::json::object();
  }
}

const nlohmann::json* OptionReader::take(const std::string& key) {
  known_.push_back(key);
  const auto found = options_.find(key);
  return found == options_.end() ? nullptr : &*found;
}

/// The seam with Config: its errors begin with where a training function's values come from.
void OptionReader::add_problem(std::string text) {
  static constexpr std::string_view kRoot = "train_loop_config.";
  if (text.starts_with(kRoot)) text.erase(0, kRoot.size());
  problems_.push_back(std::move(text));
}

void OptionReader::finish() const {
  auto problems = problems_;
  for (const auto& item : options_.items()) {
    if (std::find(known_.begin(), known_.end(), item.key()) != known_.end()) continue;
    const auto near = proto::nearest(item.key(), known_);
    std::string all;
    for (const auto& name : known_) all += (all.empty() ? "" : ", ") + name;
    problems.push_back(item.key() + ": there is no such option; " +
                       (!near.empty() ? "the nearest is " + near
                        : all.empty() ? "it has none"
                                      : "there are " + all));
  }
  if (problems.empty()) return;
  std::string text = type_ + ": these options cannot be used:";
  for (const auto& problem : problems) text += "\n  " + problem;
  throw std::invalid_argument(text);
}

}  // namespace rtrain
