// One list of fields serves both directions: `void visit_fields(auto& visit, Is<T> auto& value)` names each
// field of T once. Private to proto/*.cpp and daemon/store.
#pragma once

#include "common/base/clip.h"
#include "common/base/id.h"
#include "common/base/number.h"
#include "proto/jobspec/jobspec.h"
#include "proto/jobspec/shared_spec.h"
#include "proto/json.h"

#include <cmath>
#include <concepts>
#include <limits>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace rtrain::proto {

template <class V, class T>
concept Is = std::same_as<std::remove_const_t<V>, T>;

/// A value that does not fit; what() is "launch.ranks[1].node: expected a string, found a number".
/// A Json::exception, so that readers of documents catch one type.
class FieldError : public Json::exception {
 public:
  explicit FieldError(const std::string& text) : exception(600, text.c_str()) {}
  /// The same one level up: `name` or "[3]" in front of the path.
  [[nodiscard]] FieldError under(const std::string& step) const {
    const std::string text = what();
    return FieldError(clipped(step, 64) + (text.starts_with("[") || text.starts_with(":") ? "" : ".") + text);
  }
};

inline void read_document(const Json& in, JobSpec& spec) {
  SpecReading reading = read_job_spec(in);
  if (!reading.ok()) throw FieldError(": not a valid job spec: " + to_string(reading.errors.front()));
  spec = std::move(reading.spec);
}

namespace codec {

[[noreturn]] inline void wrong_type(std::string_view expected, const Json& found) {
  const char* name = found.is_number_float() ? "a number with a fraction"
                     : found.is_boolean()    ? "true or false"
                                             : found.type_name();
  throw FieldError(": expected " + std::string(expected) + ", found " + name);
}

struct Writer;
struct Reader;

/// Structs opt in by a visit_fields() found by argument-dependent lookup.
template <class T>
concept Visitable = requires(Writer& w, const T& v) { visit_fields(w, v); };

/// Enumerations opt in by `std::span<const std::string_view> enum_names(T)`, their values' texts in order.
template <class T>
concept Named = std::is_enum_v<T> && requires(T v) {
  { enum_names(v) } -> std::convertible_to<std::span<const std::string_view>>;
};

template <class T>
struct IsId : std::false_type {};
template <class Tag>
struct IsId<Id<Tag>> : std::true_type {};
template <class T>
struct IsOptional : std::false_type {};
template <class T>
struct IsOptional<std::optional<T>> : std::true_type {};
template <class T>
struct IsVector : std::false_type {};
template <class T>
struct IsVector<std::vector<T>> : std::true_type {};
template <class T>
struct IsMap : std::false_type {};
template <class T>
struct IsMap<std::map<std::string, T>> : std::true_type {};
template <class T>
struct IsPair : std::false_type {};
template <class A, class B>
struct IsPair<std::pair<A, B>> : std::true_type {};

/// Documents with a reader of their own, which has errors with places, opt in by `void read_document(const
/// Json&, T&)`, which throws FieldError, beside their to_json().
template <class T>
concept Document = requires(const Json& in, T& v) { read_document(in, v); };

template <class T>
void write(Json& out, const T& value);
template <class T>
void read(const Json& in, T& value);

/// A default-made alternative of a variant, by index.
template <class Variant>
[[nodiscard]] Variant alternative(std::size_t index) {
  return [index]<std::size_t... I>(std::index_sequence<I...>) {
    Variant variant;
    ((I == index ? static_cast<void>(variant.template emplace<I>()) : void()), ...);
    return variant;
  }(std::make_index_sequence<std::variant_size_v<Variant>>());
}

/// Milliseconds since 1970 as RFC 3339 text, 0 as null.
template <class Ms>
struct Time {
  Ms& unix_ms;
};
template <class Ms>
Time(Ms&) -> Time<Ms>;

/// A field without which the value means nothing. A reader refuses its absence.
template <class T>
struct Required {
  T& value;
};
template <class T>
Required(T&) -> Required<T>;

/// A whole number within bounds of its own. A reader refuses what is beyond them.
template <class T>
struct Ranged {
  T& value;
  std::int64_t min, max;
};
template <class T>
Ranged(T&, std::int64_t, std::int64_t) -> Ranged<T>;
/// What only grows, and is added up: half of kWholeMax, so that its sums and successors are whole numbers
/// too.
template <class T>
[[nodiscard]] Ranged<T> count(T& value) {
  return {value, 0, kWholeMax / 2};
}

struct Writer {
  Json& out;
  template <class T>
  void operator()(const char* name, const T& value) {
    write(out[name], value);
  }
  template <class T>
  void operator()(const char* name, Required<T> field) {
    write(out[name], field.value);
  }
  template <class T>
  void operator()(const char* name, Ranged<T> field) {
    write(out[name], field.value);
  }
  template <class Ms>
  void operator()(const char* name, Time<Ms> time) {
    out[name] = time.unix_ms == 0 ? Json() : Json(rfc3339(time.unix_ms));
  }
};

struct Reader {
  const Json& in;
  template <class T>
  void operator()(const char* name, T& value) {
    at(name, [&](const Json& found) { read(found, value); });
  }
  template <class T>
  void operator()(const char* name, Required<T> field) {
    if (!in.contains(name)) throw FieldError(std::string(name) + ": missing");
    (*this)(name, field.value);
  }
  template <class T>
  void operator()(const char* name, Ranged<T> field) {
    at(name, [&](const Json& found) {
      read(found, field.value);
      if (std::cmp_less(field.value, field.min) || std::cmp_greater(field.value, field.max))
        throw FieldError(": the number " + std::to_string(field.value) + " is not from " +
                         std::to_string(field.min) + " to " + std::to_string(field.max));
    });
  }
  template <class Ms>
  void operator()(const char* name, Time<Ms> time) {
    at(name, [&](const Json& found) {
      time.unix_ms = 0;
      if (found.is_null()) return;
      const auto* text = found.get_ptr<const std::string*>();
      if (text == nullptr || !unix_ms_from_rfc3339(*text, time.unix_ms))
        wrong_type("a time like 2026-01-31T08:00:00.000Z", found);
    });
  }

 private:
  template <class F>
  void at(const char* name, F&& use) {
    const auto found = in.find(name);
    if (found == in.end()) return;  // an older peer: the default stands
    try {
      use(*found);
    } catch (const FieldError& error) {
      throw error.under(name);
    }
  }
};

template <class T>
void write(Json& out, const T& value) {
  if constexpr (Document<T>) {
    out = to_json(value);
  } else if constexpr (std::same_as<T, SharedSpec>) {
    out = value.empty() ? Json() : to_json(*value);
  } else if constexpr (IsId<T>::value) {
    out = value.value();
  } else if constexpr (Named<T>) {
    out = enum_names(value)[static_cast<std::size_t>(value)];
  } else if constexpr (IsOptional<T>::value) {
    if (value)
      write(out, *value);
    else
      out = nullptr;
  } else if constexpr (IsVector<T>::value) {
    out = Json::array();
    for (const auto& element : value) write(out.emplace_back(), element);
  } else if constexpr (IsMap<T>::value) {
    out = Json::object();
    for (const auto& [key, element] : value) write(out[key], element);
  } else if constexpr (IsPair<T>::value) {
    out = Json::array({nullptr, nullptr});
    write(out[0], value.first);
    write(out[1], value.second);
  } else if constexpr (Visitable<T>) {
    out = Json::object();
    Writer writer{out};
    visit_fields(writer, value);
  } else if constexpr (std::floating_point<T>) {
    out = std::isfinite(value) ? value : 0;  // a rate over no time, for one: readers take finite numbers only
  } else {
    out = value;
  }
}

/// What fits into the type and is within kWholeMax.
template <class Int>
void read_integer(const Json& in, Int& value) {
  if (in.is_number_unsigned()) {
    const auto number = in.get<std::uint64_t>();
    if (!std::in_range<Int>(number) || std::cmp_greater(number, kWholeMax))
      throw FieldError(": the number " + std::to_string(number) + " is too large");
    value = static_cast<Int>(number);
  } else if (in.is_number_integer()) {
    const auto number = in.get<std::int64_t>();
    if (!std::in_range<Int>(number) || number < -kWholeMax || number > kWholeMax)
      throw FieldError(": the number " + std::to_string(number) + " does not fit here");
    value = static_cast<Int>(number);
  } else {
    wrong_type("an integer", in);
  }
}

template <Named T>
void read_named(const Json& in, T& value) {
  if (!in.is_string()) wrong_type("a string", in);
  const auto text = in.get<std::string>();
  const auto names = enum_names(value);
  for (std::size_t i = 0; i < names.size(); ++i)
    if (names[i] == text) return void(value = static_cast<T>(i));
  throw FieldError(": unknown value \"" + text.substr(0, 64) + "\"");
}

template <class T>
void read(const Json& in, T& value) {
  if constexpr (std::same_as<T, Json>) {
    value = in;
  } else if constexpr (Document<T>) {
    read_document(in, value);
  } else if constexpr (std::same_as<T, SharedSpec>) {
    value = {};
    if (in.is_null()) return;
    JobSpec spec;
    read(in, spec);
    value = std::move(spec);
  } else if constexpr (std::same_as<T, bool>) {
    if (!in.is_boolean()) wrong_type("true or false", in);
    value = in.get<bool>();
  } else if constexpr (std::integral<T>) {
    read_integer(in, value);
  } else if constexpr (std::floating_point<T>) {
    if (!in.is_number()) wrong_type("a number", in);
    value = in.get<T>();
    if (!std::isfinite(value)) throw FieldError(": a number that is not finite");
  } else if constexpr (std::same_as<T, std::string>) {
    if (!in.is_string()) wrong_type("a string", in);
    value = in.get<std::string>();
  } else if constexpr (IsId<T>::value) {
    std::int64_t number = 0;
    read_integer(in, number);
    value = T(number);
  } else if constexpr (Named<T>) {
    read_named(in, value);
  } else if constexpr (IsOptional<T>::value) {
    value.reset();
    if (!in.is_null()) read(in, value.emplace());
  } else if constexpr (IsVector<T>::value) {
    if (!in.is_array()) wrong_type("an array", in);
    value.clear();
    for (const Json& element : in) {
      try {
        read(element, value.emplace_back());
      } catch (const FieldError& error) {
        throw error.under("[" + std::to_string(value.size() - 1) + "]");
      }
    }
  } else if constexpr (IsMap<T>::value) {
    if (!in.is_object()) wrong_type("an object", in);
    value.clear();
    for (const auto& [key, element] : in.items()) {
      try {
        read(element, value[key]);
      } catch (const FieldError& error) {
        throw error.under(key);
      }
    }
  } else if constexpr (IsPair<T>::value) {
    if (!in.is_array() || in.size() != 2) wrong_type("an array of two", in);
    read(in[0], value.first);
    read(in[1], value.second);
  } else {
    static_assert(Visitable<T>, "visit_fields() is missing for this type");
    if (!in.is_object()) wrong_type("an object", in);
    Reader reader{in};
    visit_fields(reader, value);
  }
}

}  // namespace codec
}  // namespace rtrain::proto
