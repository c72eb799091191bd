// Things that TrainerOptions and job files call by a name: strategies, precisions, callbacks, loggers,
// profilers.
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

/// The names of one kind. @thread any; a library registers while it is loaded.
template <class Base>
struct Names {
  /// A second registration of a name replaces the first: a user's class may take the place of ours.
  template <class Made>
  static void add(std::string name) {
    detail::name_factory(typeid(Base).name(), std::move(name), [] {
      return std::static_pointer_cast<void>(std::shared_ptr<Base>(std::make_shared<Made>()));
    });
  }
  /// Null: there is no such name.
  [[nodiscard]] static std::shared_ptr<Base> make(const std::string& name) {
    return std::static_pointer_cast<Base>(detail::make_by_name(typeid(Base).name(), name));
  }
  /// In alphabetical order.
  [[nodiscard]] static std::vector<std::string> all() { return detail::names_of_kind(typeid(Base).name()); }
};

}  // namespace rtrain

/// Gives `Type`, which is default-constructible, a name among those of `Base`. Stands in the source file that
/// defines `Type`, in its namespace: RTRAIN_REGISTER(Strategy, "ddp", DDPStrategy);
#define RTRAIN_REGISTER(Base, name, Type)                                      \
  [[maybe_unused]] static const bool RTRAIN_JOIN(rtrain_named_, __COUNTER__) = \
      (::rtrain::Names<Base>::add<Type>(name), true)
