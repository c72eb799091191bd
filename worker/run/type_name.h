// The name of an object's type as a user writes it.
#pragma once

#include <c10/util/Type.h>

#include <string>
#include <typeinfo>

namespace rtrain {

/// "Net" of an object of type app::Net<float>... without its namespaces and template arguments.
template <class T>
[[nodiscard]] std::string type_name(const T& object) {
  auto name = c10::demangle(typeid(object).name());
  // A local class is "function(arguments)::Net".
  if (const auto bracket = name.rfind(')'); bracket != std::string::npos) name.erase(0, bracket + 1);
  if (const auto angle = name.find('<'); angle != std::string::npos) name.erase(angle);
  const auto colon = name.rfind(':');
  return colon == std::string::npos ? name : name.substr(colon + 1);
}

}  // namespace rtrain
