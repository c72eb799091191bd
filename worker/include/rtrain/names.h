// A registry of the classes that TrainerOptions and job files refer to by name: strategies, precisions,
// callbacks, loggers, profilers.
#pragma once

#include <rtrain/export.h>
#include <rtrain/registry.h>

#include <functional>
#include <memory>
#include <string>
#include <typeinfo>
#include <vector>

namespace rtrain {

namespace detail {
/// `kind`: the mangled name of the base class, which is the same in every library.
RTRAIN_API void name_factory(const char* kind, std::string name, std::function<std::shared_ptr<void>()> make);
[[nodiscard]] RTRAIN_API std::shared_ptr<void> make_by_name(const char* kind, const std::string& name);
[[nodiscard]] RTRAIN_API std::vector<std::string> names_of_kind(const char* kind);
}  // namespace detail

/// The names registered for the base class `Base`. @thread any; a library registers its names while it is
/// loaded.
template <class Base>
struct Names {
  /// Registering a name again replaces the earlier class, so a user's class can replace a built-in one.
  template <class Made>
  static void add(std::string name) {
    detail::name_factory(typeid(Base).name(), std::move(name), [] {
      return std::static_pointer_cast<void>(std::shared_ptr<Base>(std::make_shared<Made>()));
    });
  }
  /// Null if the name does not exist.
  [[nodiscard]] static std::shared_ptr<Base> make(const std::string& name) {
    return std::static_pointer_cast<Base>(detail::make_by_name(typeid(Base).name(), name));
  }
  /// All names, in alphabetical order.
  [[nodiscard]] static std::vector<std::string> all() { return detail::names_of_kind(typeid(Base).name()); }
};

}  // namespace rtrain

/// Registers `Type`, which must be default-constructible, under a name for `Base`. Goes in the source file
/// that defines `Type`, in its namespace: RTRAIN_REGISTER(Strategy, "ddp", DDPStrategy);
#define RTRAIN_REGISTER(Base, name, Type)                                      \
  [[maybe_unused]] static const bool RTRAIN_JOIN(rtrain_named_, __COUNTER__) = \
      (::rtrain::Names<Base>::add<Type>(name), true)
