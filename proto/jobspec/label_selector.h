// Labels of nodes and what a job wants of them: the syntax of Ray, which is that of Kubernetes' labels.
#pragma once

#include "common/base/result.h"

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace rtrain::proto {

/// What is wanted of one label: "h100", "!h100", "in(a,b)", "!in(a,b)".
struct LabelMatch {
  std::vector<std::string> values;  ///< sorted, each once, at least one
  bool negated = false;
  /// `value` null: the node has no such label. Then only a negated match holds, as in Kubernetes.
  [[nodiscard]] bool holds(const std::string* value) const;
  friend auto operator<=>(const LabelMatch&, const LabelMatch&) = default;
};

/// By label; all of them must hold.
using LabelSelector = std::map<std::string, LabelMatch>;

/// kInvalidArgument says what is wrong with the text, without naming the label.
[[nodiscard]] Result<LabelMatch> parse_label_match(std::string_view text);
/// The shortest text that reads as `match` again.
[[nodiscard]] std::string to_string(const LabelMatch& match);
/// "rtrain/rack=in(a,b), zone=!z1"
[[nodiscard]] std::string to_string(const LabelSelector& selector);

/// [prefix/]name: a name of 1 to 63 letters, digits, '-', '_', '.' with a letter or digit at both ends; a
/// prefix of at most 253 lower-case letters, digits, '-', '.'.
[[nodiscard]] bool is_label_key(std::string_view key);
/// Like a name, or empty.
[[nodiscard]] bool is_label_value(std::string_view value);

/// Both rules of one label of a node, wherever it comes from. kInvalidArgument says which one is broken.
[[nodiscard]] Result<Done> check_label(std::string_view key, std::string_view value);

[[nodiscard]] bool matches(const LabelSelector& selector, const std::map<std::string, std::string>& labels);

}  // namespace rtrain::proto
