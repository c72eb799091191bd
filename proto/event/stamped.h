// Events of a variant as JSON: {"type": name, "at_ms": time, and the fields}. Private to proto/*.cpp.
#pragma once

#include "proto/fields.h"

#include <algorithm>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace rtrain::proto::codec {

/// @param names of the alternatives of Stamped::event, in their order
template <class Stamped>
[[nodiscard]] Json write_stamped(const Stamped& stamped, std::span<const std::string_view> names) {
  Json json;
  std::visit([&](const auto& value) { write(json, value); }, stamped.event);
  json["type"] = names[stamped.event.index()];
  json["at_ms"] = stamped.at;
  return json;
}

/// kProtocol: no event, or one that is not among `names`, or a field that does not fit.
template <class Stamped>
[[nodiscard]] Result<Stamped> read_stamped(const Json& json, std::span<const std::string_view> names) {
  const auto type = json.find("type");
  if (!json.is_object() || type == json.end() || !type->is_string())
    return fail(Errc::kProtocol, "an event without a type");
  const auto name = type->template get<std::string>();
  const auto known = std::ranges::find(names, name);
  if (known == names.end()) return fail(Errc::kProtocol, "unknown event \"" + name.substr(0, 64) + "\"");
  Stamped stamped;
  stamped.event = alternative<decltype(Stamped::event)>(static_cast<std::size_t>(known - names.begin()));
  try {
    Reader{json}("at_ms", stamped.at);
    std::visit([&](auto& value) { read(json, value); }, stamped.event);
  } catch (const FieldError& error) {
    return fail(Errc::kProtocol, error.under(name).what());
  }
  return stamped;
}

}  // namespace rtrain::proto::codec
