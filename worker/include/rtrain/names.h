// A registry of the classes that TrainerOptions and job files refer to by name: strategies, precisions,
// callbacks, loggers, profilers.
#pragma once

#include <rtrain/export.h>
#include <rtrain/option_reader.h>
#include <rtrain/registry.h>

#include <nlohmann/json.hpp>

#include <functional>
#include <memory>
#include <string>
#include <typeinfo>
#include <utility>
#include <vector>

namespace rtrain {

namespace detail {
using AnyFactory = std::function<std::shared_ptr<void>(OptionReader&)>;
/// `kind`: the mangled name of the base class, which is the same in every library.
RTRAIN_API void name_factory(const char* kind, std::string name, AnyFactory make);
[[nodiscard]] RTRAIN_API std::shared_ptr<void> make_by_name(const char* kind, const std::string& name);
[[nodiscard]] RTRAIN_API std::shared_ptr<void> make_described(const char* kind,
                                                              const nlohmann::json& described);
[[nodiscard]] RTRAIN_API std::vector<std::shared_ptr<void>> make_all_described(const char* kind,
                                                                               const nlohmann::json& list);
[[nodiscard]] RTRAIN_API std::vector<std::string> names_of_kind(const char* kind);
}  // namespace detail

/// The names registered for the base class `Base`. @thread any; a library registers its names while it is
/// loaded.
template <class Base>
struct Names {
  /// Builds one from its options. It reads those, calls OptionReader::finish(), and makes the object.
  using Factory = std::function<std::shared_ptr<Base>(OptionReader&)>;
  /// Registering a name again replaces the earlier class, so a user's class can replace a built-in one.
  static void add(std::string name, Factory make) {
    detail::name_factory(typeid(Base).name(), std::move(name),
                         [make = std::move(make)](OptionReader& reader) {
                           return std::static_pointer_cast<void>(make(reader));
                         });
  }
  /// A class without options.
  template <class Made>
  static void add(std::string name) {
    add(std::move(name), [](OptionReader& reader) {
      reader.finish();
      return std::static_pointer_cast<Base>(std::make_shared<Made>());
    });
  }
  /// With the default options. Null if the name does not exist.
  [[nodiscard]] static std::shared_ptr<Base> make(const std::string& name) {
    return std::static_pointer_cast<Base>(detail::make_by_name(typeid(Base).name(), name));
  }
  /// One of these: a name; {"name": "CSVLogger", "save_dir": "logs"}, options beside the name; or, for a
  /// class that has an option called "name" itself, Lightning's form
  /// {"class_path": "CSVLogger", "init_args": {"save_dir": "logs", "name": "mine"}} (of a dotted path the
  /// last word counts).
  /// @throws std::invalid_argument a name that does not exist (with the nearest and all that do), options
  /// that
  ///        do not exist or have the wrong type, all at once; what the class itself throws.
  [[nodiscard]] static std::shared_ptr<Base> from_json(const nlohmann::json& described) {
    return std::static_pointer_cast<Base>(detail::make_described(typeid(Base).name(), described));
  }
  /// One of each element of a JSON list; null is an empty one. The problems of all elements are told
  /// together.
  [[nodiscard]] static std::vector<std::shared_ptr<Base>> all_from_json(const nlohmann::json& list) {
    std::vector<std::shared_ptr<Base>> made;
    for (auto& one : detail::make_all_described(typeid(Base).name(), list))
      made.push_back(std::static_pointer_cast<Base>(std::move(one)));
    return made;
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

/// Registers `Type`, which is built from an `Options`, with the names of the fields that JSON may set:
/// RTRAIN_REGISTER_OPTIONS(Logger, "CSVLogger", CSVLogger, CSVLoggerOptions, save_dir, name, version);
#define RTRAIN_REGISTER_OPTIONS(Base, name, Type, Options, ...)                                 \
  [[maybe_unused]] static const bool RTRAIN_JOIN(rtrain_named_, __COUNTER__) =                  \
      (::rtrain::Names<Base>::add(name,                                                         \
                                  [](::rtrain::OptionReader& reader) -> std::shared_ptr<Base> { \
                                    Options options{};                                          \
                                    RTRAIN_READ_OPTIONS(reader, options, __VA_ARGS__)           \
                                    reader.finish();                                            \
                                    return std::make_shared<Type>(std::move(options));          \
                                  }),                                                           \
       true)
