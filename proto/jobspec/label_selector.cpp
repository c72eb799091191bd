#include "proto/jobspec/label_selector.h"

#include "common/base/clip.h"

#include <algorithm>
#include <cctype>

namespace rtrain::proto {
namespace {

bool is_alnum(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0; }

bool is_word(std::string_view text) {
  constexpr std::size_t kWordMax = 63;
  if (text.empty() || text.size() > kWordMax || !is_alnum(text.front()) || !is_alnum(text.back()))
    return false;
  return std::ranges::all_of(text, [](char c) { return is_alnum(c) || c == '-' || c == '_' || c == '.'; });
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

Error no_value(std::string_view text) {
  return fail(Errc::kInvalidArgument, "\"" + clipped(text, 64) +
                                          "\" is no value of a label: at most 63 letters, digits, '-', '_', "
                                          "'.', with a letter or digit at both ends");
}

}  // namespace

bool is_label_value(std::string_view value) { return value.empty() || is_word(value); }

bool is_label_key(std::string_view key) {
  constexpr std::size_t kPrefixMax = 253;
  const auto slash = key.find('/');
  if (slash == std::string_view::npos) return is_word(key);
  const auto prefix = key.substr(0, slash);
  return !prefix.empty() && prefix.size() <= kPrefixMax && is_alnum(prefix.front()) &&
         is_alnum(prefix.back()) &&
         std::ranges::all_of(prefix,
                             [](char c) {
                               return (is_alnum(c) && std::isupper(static_cast<unsigned char>(c)) == 0) ||
                                      c == '-' || c == '.';
                             }) &&
         is_word(key.substr(slash + 1));
}

Result<Done> check_label(std::string_view key, std::string_view value) {
  if (!is_label_key(key))
    return fail(Errc::kInvalidArgument, "\"" + clipped(key, 64) + "\" is no label's key",
                "[prefix/]name of letters, digits, '-', '_' and '.'");
  if (!is_label_value(value))
    return fail(Errc::kInvalidArgument,
                "label " + std::string(key) + ": \"" + clipped(value, 64) + "\" is no label's value");
  return ok();
}

Result<LabelMatch> parse_label_match(std::string_view text) {
  LabelMatch match;
  std::string_view rest = trimmed(text);
  if (rest.starts_with('!')) {
    match.negated = true;
    rest = trimmed(rest.substr(1));
  }
  if (!rest.starts_with("in(")) {
    if (!is_label_value(rest)) return no_value(rest);
    match.values.emplace_back(rest);
    return match;
  }
  if (!rest.ends_with(')'))
    return fail(Errc::kInvalidArgument,
                "\"" + clipped(text, 64) + "\" lacks the closing bracket; write in(a,b)");
  rest = rest.substr(3, rest.size() - 4);
  if (trimmed(rest).empty())
    return fail(Errc::kInvalidArgument, "\"" + clipped(text, 64) + "\" names no value; write in(a,b)");
  for (;;) {
    const auto comma = rest.find(',');
    const auto value = trimmed(rest.substr(0, comma));
    if (!is_label_value(value)) return no_value(value);
    match.values.emplace_back(value);
    if (comma == std::string_view::npos) break;
    rest.remove_prefix(comma + 1);
  }
  std::ranges::sort(match.values);
  const auto same = std::ranges::unique(match.values);
  match.values.erase(same.begin(), same.end());
  return match;
}

bool LabelMatch::holds(const std::string* value) const {
  const bool named = value != nullptr && std::ranges::find(values, *value) != values.end();
  return named != negated;
}

std::string to_string(const LabelMatch& match) {
  std::string text = match.negated ? "!" : "";
  if (match.values.size() == 1) return text + match.values.front();
  text += "in(";
  for (const auto& value : match.values) text += (&value == &match.values.front() ? "" : ",") + value;
  return text + ")";
}

std::string to_string(const LabelSelector& selector) {
  std::string text;
  for (const auto& [key, match] : selector) text += (text.empty() ? "" : ", ") + key + "=" + to_string(match);
  return text;
}

bool matches(const LabelSelector& selector, const std::map<std::string, std::string>& labels) {
  return std::ranges::all_of(selector, [&](const auto& wanted) {
    const auto found = labels.find(wanted.first);
    return wanted.second.holds(found == labels.end() ? nullptr : &found->second);
  });
}

}  // namespace rtrain::proto
