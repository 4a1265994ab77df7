# tessera_protobuf(TARGET FILE.proto): the C code of protobuf-c for a .proto of the source tree, built into TARGET, whose
# sources include it as <FILE.pb-c.h>. It is made when the tree is configured, so that clang-tidy finds the header.
pkg_check_modules(PROTOBUFC REQUIRED IMPORTED_TARGET libprotobuf-c>=1.4)
find_program(PROTOC_C protoc-c REQUIRED)

function(tessera_protobuf target proto)
    get_filename_component(folder ${proto} DIRECTORY)
    get_filename_component(name ${proto} NAME_WE)
    set(made ${CMAKE_BINARY_DIR}/protobuf/${folder})
    file(MAKE_DIRECTORY ${made})
    execute_process(COMMAND ${PROTOC_C} --proto_path=${CMAKE_SOURCE_DIR}/${folder} --c_out=${made} ${name}.proto
        COMMAND_ERROR_IS_FATAL ANY)
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/${proto})
    target_sources(${target} PRIVATE ${made}/${name}.pb-c.c)
    target_include_directories(${target} SYSTEM PRIVATE ${made})
    target_link_libraries(${target} PRIVATE PkgConfig::PROTOBUFC)
endfunction()
